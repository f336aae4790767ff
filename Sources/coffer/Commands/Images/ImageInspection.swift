import ImageStore
import OCISpec
import Rendering
import StrictJSON

/// The document of `image inspect`, with the members and the order of Docker's.
enum ImageInspection {
    /// - Throws: `ImageStoreError` when the image's configuration cannot be read.
    static func document(of image: StoredImage, in store: ImageStore) throws -> TemplateValue {
        // Read from the original: Docker's has members that only a builder understands.
        let original = try JSONParser().parse(store.readBlob(image.id))
        let configuration = image.configuration
        var members: JSONObject = [
            "Id": .string(image.id.description),
            "RepoTags": .array(image.references.map { .string($0.familiar) }),
            "RepoDigests": .array(image.repositoryDigests.map { .string(familiar($0)) }),
            "Parent": "",
            "Comment": .string(configuration.history?.last?.comment ?? ""),
            "Created": .string(configuration.created ?? Timestamp.zero.rfc3339),
            "DockerVersion": .string(original["docker_version"]?.string ?? ""),
            "Author": .string(configuration.author ?? ""),
            "Config": .object(config(original["config"]?.object ?? [:])),
            "Architecture": .string(configuration.architecture),
        ]
        if let variant = configuration.variant { members["Variant"] = .string(variant) }
        members["Os"] = .string(configuration.os)
        if let version = configuration.osVersion { members["OsVersion"] = .string(version) }
        members["Size"] = .number(.signed(image.size))
        members["GraphDriver"] = graphDriver(configuration, store)
        members["RootFS"] = [
            "Type": .string(configuration.rootfs.type),
            "Layers": .array(configuration.rootfs.diffIDs.map { .string($0.description) }),
        ]
        members["Metadata"] = ["LastTagTime": .string(Timestamp.zero.rfc3339)]
        members["Descriptor"] = [
            "mediaType": .string(image.descriptor.mediaType.rawValue), "digest": .string(image.descriptor.digest.description),
            "size": .number(.signed(image.descriptor.size)),
        ]
        return TemplateValue(.object(members))
    }

    /// The configuration as Docker shows it: members that the image leaves out have their zero value.
    private static func config(_ own: JSONObject) -> JSONObject {
        let defaults: JSONObject = [
            "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false, "AttachStderr": false,
            "ExposedPorts": nil, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": nil, "Cmd": nil, "Image": "",
            "Volumes": nil, "WorkingDir": "", "Entrypoint": nil, "OnBuild": nil, "Labels": nil,
        ]
        var result = JSONObject()
        for entry in defaults {
            // Docker leaves this one out where the image has none.
            if entry.key == "ExposedPorts", own[entry.key] == nil { continue }
            result[entry.key] = own[entry.key] ?? entry.value
        }
        for entry in own where result[entry.key] == nil { result[entry.key] = entry.value }
        return result
    }

    /// Where the layers are, top first, in the words of Docker's overlay2.
    private static func graphDriver(_ configuration: ImageConfiguration, _ store: ImageStore) -> JSONValue {
        let directories = configuration.rootfs.diffIDs.reversed().map { "\(store.root)/layers/\($0.algorithm)-\($0.hex)/root" }
        var data = JSONObject()
        if directories.count > 1 { data["LowerDir"] = .string(directories.dropFirst().joined(separator: ":")) }
        if let top = directories.first { data["UpperDir"] = .string(top) }
        return ["Data": .object(data), "Name": "overlay2"]
    }

    private static func familiar(_ digest: String) -> String {
        do { return try ImageReference(parsing: digest).familiar } catch { return digest }
    }
}
