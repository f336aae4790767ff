/// Random numbers that depend on nothing but their seed (SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators").
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed }

    /// A stream of its own for each case of each target.
    public init(_ seed: UInt64, target: String, case index: Int) {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in target.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        var mixer = SeededGenerator(seed ^ hash)
        state = mixer.next() &+ UInt64(index) &* 0xd134_2543_de82_ef95
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var word = state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    /// 0..<count; 0 where there is nothing to choose from.
    public mutating func below(_ count: Int) -> Int { count < 2 ? 0 : Int(next() % UInt64(count)) }

    /// True once in `count` times.
    public mutating func once(in count: Int) -> Bool { below(count) == 0 }

    /// - Precondition: the list has elements.
    public mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }
}
