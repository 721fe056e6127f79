//! Templates: texts with places for a caption and for things.
//!
//! A file holds one template per line; empty lines and lines that begin with `#` do not count. The
//! files in the crate's folder `templates` say how places are written.

mod file;
mod grammar;
mod negated;
mod negations;
mod template;
mod twins;

pub use file::{Source, TemplateError};
pub use grammar::{alone, bare, cut, with_article};
pub use negated::{NegatedTemplate, expanded, negated};
pub use negations::{compositional, full};
pub use template::{Filling, Template};
pub use twins::{Said, Says, TwinTemplate, twins};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::grammar::Form;
    use super::template::{Piece, Slot};
    use super::*;

    #[test]
    fn our_own_lists_have_46_and_18() {
        let source = Source::default();
        let all = compositional(source).unwrap();
        assert_eq!(all.len(), 46);
        assert_eq!(full(source).unwrap().len(), 18);
        let distinct: BTreeSet<_> = all.iter().map(Template::pattern).collect();
        assert_eq!(distinct.len(), 46);
        let first = all.iter().filter(|t| t.0[0] == Piece::Place(Form::Plain, Slot::Caption)).count();
        assert!(first > 23 && first < 46, "most begin with the caption, not all: {first}");
        assert!(twins(source).unwrap().len() > 10);
    }

    #[test]
    fn faults_name_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.txt");
        let message = |text: &str, first| {
            std::fs::write(&file, text).unwrap();
            compositional(Source { file: Some(&file), first }).unwrap_err().to_string()
        };
        assert!(message("# mine\n{caption} no {dog}\n", None).contains("mine.txt: line 2: {dog} is not a place"));
        assert!(message("{caption} no {object\n", None).contains("line 1: `{` and `}`"));
        assert!(message("{caption} no } {object}\n", None).contains("line 1: `{` and `}`"));
        assert!(message("no {object}", None).contains("{caption} must stand once, not 0 times"));
        assert!(message("{caption} {is object}", None).contains("the object is missing"));
        assert!(message("\n# nothing\n", None).contains("holds no template"));
        assert!(message("{caption} no {object}", Some(2)).contains("holds 1 templates, 2 should be used"));
        assert!(compositional(Source { file: Some(&dir.path().join("none")), first: None }).is_err());

        std::fs::write(&file, "no {absent} | {a present}\n").unwrap();
        let wrong = twins(Source { file: Some(&file), first: None }).unwrap_err().to_string();
        assert!(wrong.contains("mine.txt") && wrong.contains("stands more often on the"), "{wrong}");
        std::fs::write(&file, "no {absent} | no {present}\n").unwrap();
        assert_eq!(twins(Source { file: Some(&file), first: None }).unwrap().len(), 1);
    }

    #[test]
    fn the_first_templates_are_used() {
        let all = full(Source::default()).unwrap();
        let three = full(Source { file: None, first: Some(3) }).unwrap();
        assert_eq!(three, all[..3]);
    }
}
