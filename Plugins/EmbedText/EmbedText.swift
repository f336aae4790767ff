import Foundation
import PackagePlugin

/// Writes each file of a target's Data directory into the program as a string literal. `.embedInCode` makes an array of its bytes, whose elements the
/// compiler checks one by one: for a table of a hundred kilobytes that is half a minute, and a literal costs nothing.
@main struct EmbedText: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let data = target.directoryURL.appending(path: "Data")
        let files = try FileManager.default.contentsOfDirectory(at: data, includingPropertiesForKeys: nil).sorted { $0.path < $1.path }
        // Three raw marks: nothing in a JSON document ends such a literal or is an escape in it.
        let script = """
            { printf 'enum EmbeddedText {\\n'
              for file; do
                name=${file##*/}
                printf '    static let %s: StaticString = ###\"\"\"\\n' "$(printf %s "$name" | tr .- __)"
                cat "$file"
                printf '\\n\"\"\"###\\n'
              done
              printf '}\\n'; } >"$0"
            """
        let output = context.pluginWorkDirectoryURL.appending(path: "EmbeddedText.swift")
        return [
            .buildCommand(
                displayName: "Embedding \(target.name)/Data", executable: URL(filePath: "/bin/sh"),
                arguments: ["-e", "-c", script, output.path] + files.map(\.path), inputFiles: files, outputFiles: [output])
        ]
    }
}
