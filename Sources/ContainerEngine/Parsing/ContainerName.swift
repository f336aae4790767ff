/// Names of containers.
public enum ContainerName {
    /// `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
    public static func isValid(_ name: String) -> Bool {
        guard let first = name.utf8.first, isAlphanumeric(first) else { return false }
        return name.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        default: false
        }
    }

    /// - Throws: `EngineError` in Docker's words.
    public static func validated(_ name: String) throws(EngineError) -> String {
        guard isValid(name), name.utf8.count <= 253 else {
            throw EngineError("Invalid container name (\(name)), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
        }
        return name
    }

    /// A random `adjective_surname`. Unique names are the database's business: it asks again when one is taken.
    public static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        let adjective = adjectives[Int.random(in: 0..<adjectives.count, using: &generator)]
        return adjective + "_" + surnames[Int.random(in: 0..<surnames.count, using: &generator)]
    }

    private static let adjectives = [
        "able", "airy", "amber", "ample", "apt", "avid", "balanced", "bold", "bright", "brisk", "calm", "candid", "careful",
        "cheerful", "clear", "clever", "cosy", "crisp", "curious", "dapper", "daring", "deft", "devoted", "diligent", "dutiful",
        "eager", "earnest", "easy", "exact", "fair", "fearless", "fine", "firm", "fleet", "fond", "frank", "free", "fresh",
        "frugal", "gentle", "glad", "golden", "grand", "handy", "happy", "hardy", "hearty", "honest", "humble", "ideal", "jolly",
        "just", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat", "nimble",
        "noble", "orderly", "patient", "plain", "playful", "polite", "prompt", "proper", "prudent", "quick", "quiet", "ready",
        "robust", "sane", "serene", "sharp", "silent", "simple", "sincere", "sober", "solid", "sound", "spry", "stable", "steady",
        "stout", "sturdy", "subtle", "sunny", "swift", "tidy", "trusty", "upbeat", "valiant", "vivid", "warm", "wise", "witty",
    ]

    private static let surnames = [
        "abel", "adleman", "allen", "ampere", "backus", "banach", "barbeau", "bell", "bernoulli", "bohr", "boole", "borel",
        "brouwer", "cantor", "cauchy", "cerf", "chandra", "church", "clarke", "codd", "cray", "curie", "daubechies", "dedekind",
        "dijkstra", "dirac", "engelbart", "erdos", "euclid", "euler", "faraday", "fermat", "fermi", "fourier", "galois", "gauss",
        "germain", "goedel", "goldberg", "hamilton", "hamming", "hardy", "hermite", "hilbert", "hoare", "holberton", "hopper",
        "huffman", "huygens", "jacobi", "kepler", "kleene", "knuth", "kolmogorov", "lagrange", "lamarr", "lamport", "laplace",
        "leibniz", "liskov", "lovelace", "lynch", "markov", "maxwell", "mccarthy", "meitner", "milner", "mirzakhani", "moebius",
        "naur", "neumann", "noether", "ohm", "pascal", "peano", "perlman", "planck", "poincare", "postel", "ramanujan", "riemann",
        "ritchie", "rivest", "roentgen", "russell", "shamir", "shannon", "sinclair", "somerville", "stallman", "tarjan", "tesla",
        "turing", "ulam", "venn", "viterbi", "volta", "weierstrass", "wilkes", "wirth", "wu", "yonath", "zermelo", "zuse",
    ]
}
