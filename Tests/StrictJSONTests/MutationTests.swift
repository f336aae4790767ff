import StrictJSON
import Testing

/// Documents with random damage: the parser answers with an error or a value, and a value reads back as it was written.
@Suite struct MutationTests {
    private static let seed = #"""
        {"ociVersion":"1.2.0","a":[1,-2.5e+10,18446744073709551615,true,false,null],"é\u00e9\ud83d\ude00":{"":"\"\\\/\b\f\n\r\t"},"deep":[[[{"x":[]}]]]}
        """#

    @Test func damagedDocuments() {
        var generator = SystemRandomNumberGenerator()
        let original = Array(Self.seed.utf8)
        let interesting: [UInt8] = Array("\"\\{}[],:u0-.eE+ \n".utf8) + [0, 0x1F, 0x7F, 0x80, 0xC3, 0xE2, 0xED, 0xF0, 0xF4, 0xFF]
        var accepted = 0
        var refused = 0
        for _ in 0..<20_000 {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                switch Int.random(in: 0..<4, using: &generator) {
                case 0: bytes[position] = interesting.randomElement(using: &generator) ?? 0
                case 1: bytes.remove(at: position)
                case 2: bytes.insert(interesting.randomElement(using: &generator) ?? 0, at: position)
                default: bytes.removeLast(min(bytes.count - 1, Int.random(in: 1...8, using: &generator)))
                }
            }
            do {
                let value = try JSONParser().parse(bytes)
                accepted += 1
                let again = Result { () throws(JSONSyntaxError) in try JSONParser().parse(JSONWriter.compact.write(value)) }
                #expect(again == .success(value), "\(bytes)")
            } catch {
                refused += 1
                #expect(error.offset <= bytes.count && error.line >= 1 && error.column >= 1, "\(bytes)")
            }
        }
        // Damage that is always or never noticed would test nothing.
        #expect(accepted > 100 && refused > 1000)
    }
}
