import Exposure
import Glibc
import LinuxKernel

/// systemd units on disk: the file, and the drop-ins that systemd would add to it (systemd.unit(5)).
enum UnitSource {
    /// Where systemd looks, first found first; the directory of a file that was named comes before all of them.
    private static let searchPath = [
        "/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/etc/systemd/system",
        "/etc/systemd/system.attached", "/run/systemd/system", "/run/systemd/system.attached", "/run/systemd/generator",
        "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
    ]

    /// The settings of the unit that the user named by its path or its name.
    static func load(_ target: String) throws(EngineError) -> UnitSettings {
        let given = String(target.split(separator: "/").last ?? "")
        let named = target.contains("/") ? target : (exists(target) ? "./" + target : try find(given))
        let path = exists(named) ? named : template(of: named)
        let directory = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        // The instance of a template stands for any; systemd-analyze calls it so as well.
        let name = given.hasSuffix("@.service") ? given.dropLast(9) + "@i.service" : given
        var files = [try file(path)]
        for dropIn in dropIns(names(name, path), [directory] + searchPath) { files.append(try file(dropIn)) }
        do {
            return try UnitSettings(name: String(name), files: files)
        } catch {
            throw EngineError("\(target) cannot be scored: \(error)", code: .failure)
        }
    }

    private static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// `a@b.service` is made from `a@.service` unless it has a file of its own.
    private static func template(of path: String) -> String {
        guard let at = path.lastIndex(of: "@"), path[at...].hasSuffix(".service") else { return path }
        return path[...at] + ".service"
    }

    private static func find(_ name: String) throws(EngineError) -> String {
        for directory in searchPath {
            for candidate in [name, template(of: name)] where exists(directory + "/" + candidate) { return directory + "/" + candidate }
        }
        throw EngineError("No such unit: \(name)", remedy: "name the unit's file", code: .failure)
    }

    private static func file(_ path: String) throws(EngineError) -> UnitFile {
        do {
            let bytes = try readFile(path, limit: UnitFile.maximumSize)
            if bytes.isEmpty, realName(path) == "/dev/null" || path.hasSuffix(".service") {
                throw EngineError("the unit \(path) is masked: it is never started", code: .failure)
            }
            return try UnitFile(bytes, name: path)
        } catch let error as EngineError {
            throw error
        } catch let error as KernelError {
            let reason = error.errno == EFBIG ? "it is longer than \(UnitFile.maximumSize) bytes, which no unit is" : error.reason
            throw EngineError("the unit \(path) cannot be read: \(reason)", code: .failure)
        } catch {
            throw EngineError("\(error)", code: .failure)
        }
    }

    private static func realName(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    /// Every name whose drop-ins apply: the unit's, the one that it is a link to, its template's, its prefixes', its type's.
    private static func names(_ name: some StringProtocol, _ path: String) -> [String] {
        var names = [String(name)]
        func add(_ name: String) { if !names.contains(name) { names.append(name) } }
        let real = String(realName(path).split(separator: "/").last ?? "")
        if !real.hasSuffix("@.service") { add(real) }
        for name in names {
            let template = template(of: name)
            if template != name { add(template) }
        }
        for name in names {
            var stem = Substring(name.dropLast(8))
            if let at = stem.firstIndex(of: "@") { stem = stem[..<at] }
            while let dash = stem.dropLast().lastIndex(of: "-") {
                stem = stem[...dash]
                add(stem + ".service")
                stem = stem.dropLast()
            }
        }
        add("service")
        return names
    }

    /// Sorted by file name; of two with one name the first that was found counts.
    private static func dropIns(_ names: [String], _ directories: [String]) -> [String] {
        var found: [String: String] = [:]
        for name in names {
            for directory in directories {
                let path = "\(directory)/\(name).d"
                for entry in entries(path) where entry.hasSuffix(".conf") && found[entry] == nil { found[entry] = path + "/" + entry }
            }
        }
        return found.sorted { $0.key < $1.key }.map(\.value).filter { realName($0) != "/dev/null" }
    }

    private static func entries(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                    pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        return names
    }
}
