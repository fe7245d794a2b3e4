//! Every file of the corpus keeps every promise: what fuzzing once found does not come back.

use std::path::Path;

use fuzz_targets::TARGETS;

#[test]
fn the_corpus_breaks_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, check) in TARGETS {
        let folder = corpus.join(name);
        let files = std::fs::read_dir(&folder).expect("a target has a corpus");
        let mut count = 0;
        for file in files {
            let path = file.expect("a file").path();
            // Shown by the test harness where the next line panics.
            println!("{}", path.display());
            check(&std::fs::read(&path).expect("it is read"));
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}
