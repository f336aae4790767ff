/// Annotations of a configuration that this runtime does something for. Their names are crun's, for whose sake engines set them.
public enum Annotations {
    /// The caller's supplementary groups are the payload's too (podman's `--group-add keep-groups`).
    static let keepsGroups = "run.oci.keep_original_groups"
    /// A filter that names a call which libseccomp does not know is an error.
    static let refusesUnknownCalls = "run.oci.seccomp_fail_unknown_syscall"

    /// Those that give a container more than the rest of its configuration does (runtime-spec, features.md).
    public static let potentiallyUnsafe = [keepsGroups]
}
