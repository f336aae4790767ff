import StrictJSON
import Testing

@testable import Rendering

private let container: TemplateValue = .object([
    ("Id", "0123456789abcdef"),
    ("Name", "/web"),
    ("Size", 1_234_567_890_123),
    ("State", .object([("Running", true), ("ExitCode", 0), ("Pid", 42), ("Error", "")])),
    (
        "Mounts",
        [
            .object([("Source", "/a"), ("Destination", "/x"), ("RW", true)]),
            .object([("Source", "/b"), ("Destination", "/y"), ("RW", false)]),
        ]
    ),
    (
        "Config",
        .object([
            ("Env", ["PATH=/bin", "LANG=C"]), ("Cmd", .null(.list)), ("Entrypoint", .null),
            ("Labels", .map(["b": "2", "a": "1", "com.example.x": "<&>"])), ("Volumes", .null(.map)),
        ])
    ),
    (
        "NetworkSettings",
        .object([
            ("Networks", .map(["n2": .object([("IPAddress", "10.0.0.2")]), "n1": .object([("IPAddress", "10.0.0.1")])])),
            ("Ports", .map(["80/tcp": [.object([("HostIp", "127.0.0.1"), ("HostPort", "8080")])]])),
        ])
    ),
])

private func render(_ source: String, _ value: TemplateValue = container) throws -> String {
    try Template(source).render(value)
}

@Suite struct TemplateTests {
    /// What users of Docker type, and what Docker answers.
    @Test(
        arguments: [
            ("{{.Name}}", "/web"),
            ("{{ .State.Running }}", "true"),
            ("{{.Size}}", "1234567890123"),
            ("{{range .Mounts}}{{.Source}}{{end}}", "/a/b"),
            ("{{range .Mounts}}{{.Source}}:{{.Destination}} {{end}}", "/a:/x /b:/y "),
            ("{{range $i, $m := .Mounts}}{{$i}}={{$m.Source}};{{end}}", "0=/a;1=/b;"),
            ("{{range $m := .Mounts}}{{if $m.RW}}rw{{else}}ro{{end}} {{end}}", "rw ro "),
            ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "a=1 b=2 com.example.x=<&> "),
            ("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "10.0.0.1 10.0.0.2 "),
            ("{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{(index .NetworkSettings.Ports \"80/tcp\" 0).HostPort}}", "8080"),
            ("{{with index .NetworkSettings.Ports \"80/tcp\"}}{{(index . 0).HostIp}}{{end}}", "127.0.0.1"),
            ("{{index .Config.Labels \"com.example.x\"}}", "<&>"),
            ("{{json .Config.Labels}}", #"{"a":"1","b":"2","com.example.x":"<&>"}"#),
            ("{{json .State}}", #"{"Running":true,"ExitCode":0,"Pid":42,"Error":""}"#),
            ("{{.Config.Env}}", "[PATH=/bin LANG=C]"),
            ("{{.Config.Labels}}", "map[a:1 b:2 com.example.x:<&>]"),
            ("{{.Config.Labels.nothing}}", "<no value>"),
            ("{{.Config.Entrypoint}}", "<no value>"),
            ("{{.Config.Cmd}}{{.Config.Volumes}}", "[]map[]"),
            ("{{json .Config.Cmd}}", "null"),
            ("{{.State}}", "{true 0 42 }"),
            ("{{join .Config.Env \",\"}}", "PATH=/bin,LANG=C"),
            ("{{index (split .Name \"/\") 1}}", "web"),
            ("{{.Name | upper}}{{lower \"ABC\"}}{{title \"two words\"}}", "/WEBabcTwo Words"),
            ("{{len .Mounts}} {{len .Name}}", "2 4"),
            ("{{slice .Id 0 12}}", "0123456789ab"),
            ("{{slice .Config.Env 1}}", "[LANG=C]"),
            ("{{truncate .Id 4}}|{{pad \"x\" 1 2}}|", "0123| x  |"),
            ("{{println .Name 1}}", "/web 1\n"),
            ("{{print 1 2 \"x\" 3}}", "1 2x3"),
            ("{{if and .State.Running (eq .State.ExitCode 0)}}up{{end}}", "up"),
            ("{{if not .State.Error}}ok{{else}}bad{{end}}", "ok"),
            ("{{if eq .State.Pid 1}}a{{else if eq .State.Pid 41 42}}b{{else}}c{{end}}", "b"),
            ("{{if or .State.Error .Name}}y{{end}}", "y"),
            ("{{or .State.Error \"fallback\"}}", "fallback"),
            ("{{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 1 2}} {{ne 1 2}}", "true true true false true"),
            ("{{$n := .Name}}{{with .State}}{{$n}} {{.Pid}} {{$.Id}}{{end}}", "/web 42 0123456789abcdef"),
            ("{{$x := 1}}{{range .Mounts}}{{$x = 2}}{{end}}{{$x}}", "2"),
            ("{{with .State.Error}}e{{else}}none{{end}}", "none"),
            ("{{with .State.Error}}e{{else with .Name}}{{.}}{{end}}", "/web"),
            ("a {{- .Name -}} b", "a/webb"),
            ("a {{/* no */}} b{{- /* x */ -}} c", "a  bc"),
            ("{{\"a\\tb\\x41\\u00e9\"}}{{`r\\aw`}}{{'a'}}", "a\tbAér\\aw97"),
            ("{{range .Mounts}}{{if not .RW}}{{break}}{{end}}{{.Source}}{{end}}", "/a"),
            ("{{range .Mounts}}{{if .RW}}{{continue}}{{end}}{{.Source}}{{end}}", "/b"),
            ("{{range 3}}{{.}}{{end}}", "012"),
            ("{{1.5}} {{1e21}} {{0x10}} {{-3}}", "1.5 1e+21 16 -3"),
            ("{{html \"<a>\"}} {{urlquery \"a b&\"}}", "&lt;a&gt; a+b%26"),
            ("{{.Name | printf \"%s-%d\" \"x\" | len}}", "18"),
            ("no action", "no action"),
            ("", ""),
            ("{", "{"),
        ] as [(String, String)])
    func rendersAsGoDoes(source: String, expected: String) throws {
        #expect(try render(source) == expected)
    }

    @Test(
        arguments: [
            ("%d|%5d|%-5d|%05d|%+d|%x|%X|%#x|%o|%b|%c|%U", "7|    7|7    |00007|+7|7|7|0x7|7|111|\u{07}|U+0007"),
            ("%v", "7"), ("%s", "%!s(int=7)"), ("%d %d", "7 %!d(MISSING)"), ("x", "x%!(EXTRA int=7)"), ("%", "%!(NOVERB)%!(EXTRA int=7)"),
            ("%d%%", "7%"), ("%T", "int"), ("%3v|", "  7|"),
        ] as [(String, String)])
    func printsIntegers(format: String, expected: String) {
        let count = format.split(separator: "%", omittingEmptySubsequences: true).count
        let operands: [TemplateValue] = format.contains("|") && count > 2 ? Array(repeating: 7, count: 12) : [7]
        #expect(GoFormat.printf(format, operands) == expected)
    }

    @Test func printsOtherVerbs() {
        #expect(GoFormat.printf("%q %x %.2s %5s|%-5s|", ["a\"b", "hi", "abc", "x", "y"]) == #""a\"b" 6869 ab     x|y    |"#)
        #expect(GoFormat.printf("%.2f %8.3f %e %g %v", [1.005, 2.5, 1234.5, 0.1, 100.0]) == "1.00    2.500 1.234500e+03 0.1 100")
        #expect(GoFormat.printf("%t %v %s", [true, ["a", 1], ["a", "b"]]) == "true [a 1] [a b]")
        #expect(GoFormat.printf("%+v", [.object([("A", 1), ("B", "x")])]) == "{A:1 B:x}")
        #expect(GoFormat.printf("%*d", [4, 7]) == "   7")
        #expect(GoFormat.printf("%d", ["x"]) == "%!d(string=x)")
        #expect(GoFormat.printf("%v %s", [.missing, .missing]) == "<nil> %!s(<nil>)")
    }

    /// The sentences are Go's, so that what a user finds about them elsewhere helps here too.
    @Test(
        arguments: [
            ("{{.Foo}}", "template: :1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
            ("{{.State.Foo}}", "template: :1:8: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\""),
            ("a\nb {{.Foo}}", "template: :2:4: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
            ("{{.Name.X}}", "template: :1:7: executing \"\" at <.Name.X>: can't evaluate field X in type string"),
            ("{{.Config.Labels.x.y}}", "template: :1:9: executing \"\" at <.Config.Labels.x.y>: nil data; no entry for key \"y\""),
            ("{{range .Name}}{{end}}", "template: :1:8: executing \"\" at <.Name>: range can't iterate over /web"),
            ("{{index .Mounts 5}}", "template: :1:2: executing \"\" at <index .Mounts 5>: error calling index: index out of range: 5"),
            ("{{len 3}}", "template: :1:2: executing \"\" at <len 3>: error calling len: len of type int"),
            ("{{len}}", "template: :1:2: executing \"\" at <len>: wrong number of args for len: want 1 got 0"),
            (
                "{{join .Name \",\"}}",
                "template: :1:2: executing \"\" at <join .Name \",\">: wrong type for value; expected []string; got string"
            ),
            ("{{eq 1 \"1\"}}", "template: :1:2: executing \"\" at <eq 1 \"1\">: error calling eq: incompatible types for comparison"),
            ("{{.Name 1}}", "template: :1:2: executing \"\" at <.Name>: Name has arguments but cannot be invoked as function"),
            ("{{foo}}", "template: :1: function \"foo\" not defined"),
            ("{{.Name", "template: :1: unclosed action"),
            ("{{", "template: :1: unclosed action"),
            ("{{}}", "template: :1: missing value for command"),
            ("{{if}}{{end}}", "template: :1: missing value for if"),
            ("{{if .Name}}", "template: :1: unexpected EOF"),
            ("{{end}}", "template: :1: unexpected {{end}}"),
            ("{{else}}", "template: :1: unexpected {{else}}"),
            ("{{$x}}", "template: :1: undefined variable \"$x\""),
            ("{{range $x := .Mounts}}{{end}}{{$x}}", "template: :1: undefined variable \"$x\""),
            ("{{.Name | }}", "template: :1: missing value for command"),
            ("{{(.Name}}", "template: :1: unclosed left paren"),
            ("{{.Name)}}", "template: :1: unexpected right paren"),
            ("{{\"x}}", "template: :1: unterminated quoted string"),
            ("{{/* x}}", "template: :1: unclosed comment"),
            ("{{.Name!}}", "template: :1: bad character U+0021 '!'"),
            ("{{break}}", "template: :1: {{break}} outside {{range}}"),
            ("{{define \"x\"}}{{end}}", "template: :1: {{define}} is not supported"),
            ("{{1 | .Name | 2}}", "template: :1: non executable command in pipeline stage 3"),
        ] as [(String, String)])
    func failsAsGoDoes(source: String, expected: String) {
        let error = #expect(throws: TemplateError.self) { try render(source) }
        #expect(error?.message == expected)
        #expect(error?.description == "template parsing error: " + expected)
    }

    @Test func hostileTemplatesEnd() {
        let deep = String(repeating: "(", count: 100_000) + ".Name" + String(repeating: ")", count: 100_000)
        #expect(throws: TemplateError.self) { try render("{{\(deep)}}") }
        let nested = String(repeating: "{{if .Name}}", count: 50_000) + String(repeating: "{{end}}", count: 50_000)
        #expect(throws: TemplateError.self) { try render(nested) }
        #expect(throws: TemplateError.self) { try render("{{range 1000}}{{range 1000}}{{printf \"%1000000d\" 1}}{{end}}{{end}}") }
        for count in 0..<24 {
            // Every prefix of a template ends in a value or an error, never in a trap.
            let source = String("{{range $i, $e := (index .A 0).B | len }}\\".prefix(count))
            _ = try? Template(source)
        }
    }

    @Test func documentsKnowMapsFromStructs() throws {
        let json = try JSONParser().parse(
            #"{"Config":{"Labels":{"maintainer":"x","Labels":{}},"Entrypoint":null,"Cmd":["a"]},"N":1.5}"#)
        let value = TemplateValue(json)
        #expect(try Template("{{.Config.Labels.gone}}|{{.Config.Entrypoint}}|{{.N}}").render(value) == "<no value>|[]|1.5")
        #expect(throws: TemplateError.self) { try Template("{{.Config.Gone}}").render(value) }
        #expect(value.json == #"{"Config":{"Labels":{"Labels":{},"maintainer":"x"},"Entrypoint":null,"Cmd":["a"]},"N":1.5}"#)
    }
}
