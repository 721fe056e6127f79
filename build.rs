//! Notes the versions that a report names: what decides numbers beside our own code.

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock").unwrap_or_default();
    let version = |name: &str| {
        let at = lock.find(&format!("name = \"{name}\"\nversion = \""))?;
        lock[at..].split('"').nth(3).map(|version| format!("{name} {version}"))
    };
    let versions: Vec<String> = ["burn", "wgpu", "tract-onnx"].into_iter().filter_map(version).collect();
    println!("cargo:rustc-env=PIPELINE_VERSIONS={}", versions.join(", "));
}
