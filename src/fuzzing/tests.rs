//! What was found once, and where fuzzing begins.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 10] = [
    ("claim", claim),
    ("commands", commands),
    ("conf", conf),
    ("long_record", long_record),
    ("message", message),
    ("progress", progress),
    ("status_record", status_record),
    ("stderr_tail", stderr_tail),
    ("table", table),
    ("words", words),
];

#[test]
fn the_corpora() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in TARGETS {
        let files = fs::read_dir(corpora.join(name)).unwrap_or_else(|error| panic!("fuzz/corpus/{name}: {error}"));
        let mut count = 0;
        for file in files {
            let file = file.unwrap().path();
            println!("{}", file.display()); // seen only where it fails
            target(&fs::read(&file).unwrap());
            count += 1;
        }
        assert!(count > 0, "fuzz/corpus/{name} is empty");
    }
    let folders = fs::read_dir(corpora).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a folder for each target, and no other");
}

/// A little of what fuzzing does, for those who have no cargo-fuzz: a few bytes of a file are others.
fn changed(mut bytes: Vec<u8>, changes: &[(u8, usize, u8)]) -> Vec<u8> {
    for &(kind, place, byte) in changes {
        let at = place % (bytes.len() + 1);
        match kind {
            0 | 1 => bytes.insert(at, byte),
            2 => drop(bytes.drain(at..(at + usize::from(byte % 16)).min(bytes.len()))),
            3 => bytes.extend_from_within(at..(at + usize::from(byte)).min(bytes.len())),
            _ if at < bytes.len() => bytes[at] = byte,
            _ => {}
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_corpora_with_changes(
        number in 0..TARGETS.len(),
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec((0..8_u8, any::<usize>(), any::<u8>()), 1..12),
    ) {
        let (name, target) = TARGETS[number];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        target(&changed(fs::read(file.get(&files)).unwrap(), &changes));
    }
}
