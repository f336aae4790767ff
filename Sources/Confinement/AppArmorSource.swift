/// The AppArmor profile of containers as apparmor_parser reads it (`Levels/coffer-default.apparmor`).
public enum AppArmorSource {
    public static var text: [UInt8] { PackageResources.coffer_default_apparmor }
}
