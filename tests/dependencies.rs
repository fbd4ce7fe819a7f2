//! ARCHITECTURE.md says what each direct dependency is for.

use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn every_dependency_of_the_workspace_stands_in_the_architectures_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, section) = manifest.split_once("[workspace.dependencies]\n").unwrap();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let ours = |line: &&str| line.contains("path = ");
    let used: BTreeSet<&str> = lines.filter(|line| !ours(line)).filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(used.contains("tokio"), "the manifest was not understood");

    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let (_, table) = page.split_once("\n## Dependencies\n").unwrap();
    let names = table.lines().filter_map(|line| line.strip_prefix("| ")?.split('|').next());
    let named: BTreeSet<&str> = names.flat_map(|names| names.split([',', ';', ' '])).filter(|name| !name.is_empty()).collect();
    let missing: Vec<_> = used.difference(&named).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md does not say what these are for: {missing:?}");
    let gone: Vec<_> = named.difference(&used).filter(|name| !["crate", "---"].contains(name)).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not used any more: {gone:?}");
}
