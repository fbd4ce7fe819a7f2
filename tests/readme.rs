//! What the README shows is what the examples are.
#![allow(clippy::panic, reason = "a test may stop at the first surprise")]

use std::{fs, io, path::Path};

fn text(path: &str) -> io::Result<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

#[test]
fn the_first_service_and_its_test_are_those_of_the_example() {
    let readme = text("README.md").unwrap();
    let shown: Vec<&str> = readme.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).take(2).collect();
    let example = text("examples/first_service.rs").unwrap();
    let begin = example.find("\nuse ").unwrap() + 1;
    assert_eq!(shown.join("\n"), example[begin..], "README.md and examples/first_service.rs differ");
}

#[test]
fn a_broker_of_ones_own_has_under_150_lines_as_the_readme_says() {
    let lines = text("examples/own_broker/list.rs").unwrap().lines().count();
    assert!(lines < 150, "examples/own_broker/list.rs has {lines} lines");
}

#[test]
fn what_the_page_about_brokers_shows_is_in_the_broker() {
    let page = text("docs/writing-a-broker.md").unwrap();
    let blocks = page.split("```rust\n// ").skip(1).filter_map(|rest| rest.split("```").next());
    let mut shown = 0;
    for (file, block) in blocks.filter_map(|block| block.split_once('\n')) {
        let written = text(&format!("examples/folder_broker/{file}")).unwrap();
        assert!(written.contains(block), "{file} has no longer:\n{block}");
        shown += 1;
    }
    assert!(shown > 5, "the page was not understood");
}

/// Other sites and places within a page are not followed.
#[test]
fn every_link_to_a_file_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root.join(page));
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for page in pages.into_iter().chain(docs) {
        let written = fs::read_to_string(&page).unwrap();
        let links = written.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for link in links.filter(|link| !link.is_empty() && !link.contains("://")) {
            assert!(page.with_file_name("").join(link).exists(), "{}: {link}", page.display());
        }
    }
}
