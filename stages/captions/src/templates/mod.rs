//! Templates: texts with places for a caption and for things.
//!
//! A file holds one template a line; empty lines and lines with `#` in front do
//! not count. The files in `templates/` say how places are written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::tagger::{Noun, Number};

/// A fault in a template file.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("{}: cannot read templates: {error}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A line is not a template.
    #[error("{}: line {line}: {what}", .file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The file as a whole cannot be used.
    #[error("{}: {what}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong, and what to do.
        what: String,
    },
}

/// What a place is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Caption,
    /// The negation object: "B" of "A and no B".
    Object,
    /// A thing in the image.
    Present,
    /// Another thing in the image.
    Other,
    /// A thing that is not.
    Absent,
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// dog, dogs, water
    Plain,
    /// a dog, dogs, water
    A,
    /// a dog, any dogs, any water
    Any,
    /// is, are, is
    Is,
    /// does, do, does
    Does,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Form, Slot),
}

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

/// What fills the places of a template.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// `{caption}`
    pub caption: &'a str,
    /// `{object}` or `{absent}`
    pub absent: Option<&'a Noun>,
    /// `{present}`
    pub present: Option<&'a Noun>,
    /// `{other}`
    pub other: Option<&'a Noun>,
}

impl Template {
    fn parse(text: &str, allowed: &[Slot]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let close = rest[open..].find('}').filter(|c| *c > 0).ok_or("`{` and `}` do not pair up")? + open;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let place = &rest[open + 1..close];
            pieces.push(
                parse_place(place).filter(|p| matches!(p, Piece::Place(_, s) if allowed.contains(s))).ok_or_else(
                    || format!("{{{place}}} is no place for such a template; there are {}", places(allowed)),
                )?,
            );
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    fn count(&self, slot: Slot) -> usize {
        self.0.iter().filter(|p| matches!(p, Piece::Place(_, s) if *s == slot)).count()
    }

    /// The template with its caption and things called alike.
    fn pattern(&self) -> String {
        let mut things = Vec::new();
        let mut pattern = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => pattern.push_str(text),
                Piece::Place(form, slot) => {
                    let number = things.iter().position(|s| s == slot).unwrap_or_else(|| {
                        things.push(*slot);
                        things.len() - 1
                    });
                    let name = if *slot == Slot::Caption { "caption".to_owned() } else { number.to_string() };
                    pattern.push_str(&format!("{{{form:?} {name}}}"));
                }
            }
        }
        pattern
    }

    /// The text, with a capital in front and without a mark at the end of the
    /// caption. A caption in front stays as it is, byte for byte. A thing
    /// that is missing leaves its place empty.
    pub fn fill(&self, filling: Filling<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(words) => text.push_str(words),
                Piece::Place(_, Slot::Caption) if text.is_empty() => text.push_str(bare(filling.caption)),
                Piece::Place(_, Slot::Caption) => text.push_str(&inside(bare(filling.caption))),
                Piece::Place(form, slot) => {
                    let noun = match slot {
                        Slot::Present => filling.present,
                        Slot::Other => filling.other,
                        _ => filling.absent,
                    };
                    text.push_str(&noun.map_or_else(String::new, |noun| grammar(*form, noun)));
                }
            }
        }
        if !matches!(self.0.first(), Some(Piece::Place(_, Slot::Caption))) {
            capitalise(&mut text);
        }
        text
    }
}

fn parse_place(place: &str) -> Option<Piece> {
    let (form, name) = place.split_once(' ').unwrap_or(("", place));
    let slot = match name {
        "caption" if form.is_empty() => Slot::Caption,
        "object" => Slot::Object,
        "present" => Slot::Present,
        "other" => Slot::Other,
        "absent" => Slot::Absent,
        _ => return None,
    };
    let form = match form {
        "" => Form::Plain,
        "a" => Form::A,
        "any" => Form::Any,
        "is" => Form::Is,
        "does" => Form::Does,
        _ => return None,
    };
    Some(Piece::Place(form, slot))
}

fn places(allowed: &[Slot]) -> String {
    let name = |slot: &Slot| match slot {
        Slot::Caption => "{caption}".to_owned(),
        thing => {
            let name = format!("{thing:?}").to_lowercase();
            format!("{{{name}}}, {{a {name}}}, {{any {name}}}, {{is {name}}}, {{does {name}}}")
        }
    };
    allowed.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn grammar(form: Form, noun: &Noun) -> String {
    let plural = noun.number == Number::Plural;
    match (form, noun.number) {
        (Form::A | Form::Any, Number::Singular) => format!("{} {}", article(&noun.text), noun.text),
        (Form::Any, _) => format!("any {}", noun.text),
        (Form::Plain | Form::A, _) => noun.text.clone(),
        (Form::Is, _) => if plural { "are" } else { "is" }.to_owned(),
        (Form::Does, _) => if plural { "do" } else { "does" }.to_owned(),
    }
}

/// "a" or "an", by the sound that English spelling most likely stands for.
fn article(word: &str) -> &'static str {
    const VOWEL_SOUND: &[&str] = &["heir", "honest", "honor", "honour", "hour", "x-ray", "mri"];
    const CONSONANT_SOUND: &[&str] = &["eu", "ewe", "one", "once", "uku", "uni", "usa", "use", "uten", "u-", "ur"];
    let begins = |list: &[&str]| list.iter().any(|start| word.starts_with(start));
    // "unimportant", "urn" and "urchin" begin with a vowel after all.
    let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    let vowel = if begins(&["unin", "unim", "urn", "urch", "urb"]) { vowel } else { vowel && !begins(CONSONANT_SOUND) };
    if vowel || begins(VOWEL_SOUND) { "an" } else { "a" }
}

/// A thing inside of a sentence: "a dog", "dogs", "water".
pub fn with_article(noun: &Noun) -> String {
    grammar(Form::A, noun)
}

/// A thing by itself: "A dog", "Dogs", "Water".
pub fn alone(noun: &Noun) -> String {
    let mut text = with_article(noun);
    capitalise(&mut text);
    text
}

/// A caption without the mark at its end.
pub fn bare(caption: &str) -> &str {
    caption.trim().trim_end_matches(['.', '!', ';', ',', ' '])
}

/// A caption as it stands inside of a sentence: "A dog" becomes "a dog", names
/// and abbreviations stay.
fn inside(caption: &str) -> String {
    const BEGINNINGS: &str = "a an the this that these those there two three four five six seven eight nine ten \
        some several many one his her its their another each both all people children men women kids dogs boys girls \
        man woman boy girl dog young old small large little big group black brown white";
    let first = caption.split_whitespace().next().unwrap_or("");
    if BEGINNINGS.split_whitespace().any(|word| word.eq_ignore_ascii_case(first)) {
        let mut text = caption.to_owned();
        text[..1].make_ascii_lowercase();
        text
    } else {
        caption.to_owned()
    }
}

fn capitalise(text: &mut String) {
    if let Some(first) = text.chars().next() {
        let upper: String = first.to_uppercase().collect();
        text.replace_range(..first.len_utf8(), &upper);
    }
}

/// A list of templates and the file it came from.
struct Lines<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Lines<'a> {
    fn parse<T>(&self, parse: impl Fn(&'a str) -> Result<T, String>) -> Result<Vec<T>, TemplateError> {
        let mut found = Vec::new();
        for (i, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                let wrong = |what| TemplateError::Line { file: self.file.to_owned(), line: i + 1, what };
                found.push(parse(line).map_err(wrong)?);
            }
        }
        if found.is_empty() {
            return Err(self.fault("holds no template; write one a line".to_owned()));
        }
        Ok(found)
    }

    fn fault(&self, what: String) -> TemplateError {
        TemplateError::File { file: self.file.to_owned(), what }
    }

    /// Keeps the first `use_first`, if so many are there.
    fn first<T>(&self, mut found: Vec<T>, use_first: Option<usize>) -> Result<Vec<T>, TemplateError> {
        let wanted = use_first.unwrap_or(found.len());
        if wanted == 0 || wanted > found.len() {
            let there = found.len();
            return Err(self.fault(format!("holds {there} templates, {wanted} are to be used; choose 1 to {there}")));
        }
        found.truncate(wanted);
        Ok(found)
    }
}

/// Where templates come from, and how many of them are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Source<'a> {
    /// A user's file; else our own.
    pub file: Option<&'a Path>,
    /// Use the first so many; else all.
    pub first: Option<usize>,
}

impl Source<'_> {
    fn load<T>(
        self,
        name: &str,
        own: &str,
        read: impl Fn(&Lines<'_>) -> Result<Vec<T>, TemplateError>,
    ) -> Result<Vec<T>, TemplateError> {
        let (file, text) = match self.file {
            Some(file) => {
                let wrong = |error| TemplateError::Read { file: file.to_owned(), error };
                (file.to_owned(), std::fs::read_to_string(file).map_err(wrong)?)
            }
            None => (PathBuf::from(name), own.to_owned()),
        };
        let lines = Lines { file: &file, text: &text };
        lines.first(read(&lines)?, self.first)
    }
}

/// Templates for "A and no B" (TNG-CLIP, arXiv 2505.18434, section 3): each has
/// `{caption}` once and `{object}`. Our own are 46.
///
/// # Errors
/// A file that cannot be read, with a line that is no such template, or with
/// fewer templates than are to be used.
pub fn compositional(source: Source<'_>) -> Result<Vec<Template>, TemplateError> {
    source.load("templates/compositional.txt", include_str!("../templates/compositional.txt"), |lines| {
        lines.parse(|line| {
            let template = Template::parse(line, &[Slot::Caption, Slot::Object])?;
            let plain = template.0.contains(&Piece::Place(Form::Plain, Slot::Object));
            let article = template.0.iter().any(|p| matches!(p, Piece::Place(Form::A | Form::Any, Slot::Object)));
            match (template.count(Slot::Caption), plain || article) {
                (1, true) => Ok(template),
                (1, false) => Err("the object is missing; write {object}, {a object} or {any object}".to_owned()),
                (n, _) => Err(format!("{{caption}} must stand once, not {n} times")),
            }
        })
    })
}

/// Templates for "not A" (TNG-CLIP, section 3): each has `{caption}` once. Our
/// own are 18.
///
/// # Errors
/// As [`compositional`].
pub fn full(source: Source<'_>) -> Result<Vec<Template>, TemplateError> {
    source.load("templates/full.txt", include_str!("../templates/full.txt"), |lines| {
        lines.parse(|line| {
            let template = Template::parse(line, &[Slot::Caption])?;
            match template.count(Slot::Caption) {
                1 => Ok(template),
                n => Err(format!("{{caption}} must stand once, not {n} times")),
            }
        })
    })
}

/// What a true text does, as questions of NegBench tell apart: positive, negative, hybrid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Says {
    /// It speaks of what is there.
    Affirms,
    /// It speaks of what is not.
    Denies,
    /// It speaks of both.
    Both,
}

impl Says {
    /// All.
    pub const ALL: [Self; 3] = [Self::Affirms, Self::Denies, Self::Both];
}

/// A true text and a false one that differ in what they negate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Twin {
    /// True of the image.
    pub truth: Template,
    /// False of it.
    pub lie: Template,
}

impl Twin {
    /// What its true text does.
    pub fn says(&self) -> Says {
        let counts = |slots: &[Slot]| slots.iter().any(|slot| self.truth.count(*slot) > 0);
        match (counts(&[Slot::Caption, Slot::Present, Slot::Other]), counts(&[Slot::Absent])) {
            (true, true) => Says::Both,
            (false, true) => Says::Denies,
            _ => Says::Affirms,
        }
    }

    /// Whether the pair speaks of a thing in the image beside its caption.
    pub fn adds_present(&self) -> bool {
        self.speaks_of(Slot::Caption) && self.speaks_of_present()
    }

    /// Whether the pair speaks of two things in the image.
    pub fn speaks_of_other(&self) -> bool {
        self.speaks_of(Slot::Other)
    }

    /// Whether the pair speaks of a thing in the image.
    pub fn speaks_of_present(&self) -> bool {
        self.speaks_of(Slot::Present)
    }

    /// Whether the pair speaks of a thing that is not in the image.
    pub fn speaks_of_absent(&self) -> bool {
        self.speaks_of(Slot::Absent)
    }

    fn speaks_of(&self, slot: Slot) -> bool {
        self.truth.count(slot) + self.lie.count(slot) > 0
    }
}

/// Pairs of templates for the generator of twins, `TRUE | FALSE` a line.
///
/// # Errors
/// As [`compositional`]; and when a pattern stands more often on one side than
/// on the other, so that it would tell by itself which text is true.
pub fn twins(source: Source<'_>) -> Result<Vec<Twin>, TemplateError> {
    let parse = |side: &str| {
        let template = Template::parse(side.trim(), &[Slot::Caption, Slot::Present, Slot::Other, Slot::Absent])?;
        if template.count(Slot::Caption) > 1 {
            return Err("{caption} must stand at most once on each side".to_owned());
        }
        if template.count(Slot::Present) + template.count(Slot::Absent) == 0 {
            return Err("each side must speak of {present} or {absent}".to_owned());
        }
        Ok(template)
    };
    let pairs = source.load("templates/twins.txt", include_str!("../templates/twins.txt"), |lines| {
        lines.parse(|line| {
            let (truth, lie) = line.split_once('|').ok_or("a pair is written `TRUE | FALSE`")?;
            Ok(Twin { truth: parse(truth)?, lie: parse(lie)? })
        })
    })?;
    let mut balance: BTreeMap<String, i32> = BTreeMap::new();
    for pair in &pairs {
        *balance.entry(pair.truth.pattern()).or_default() += 1;
        *balance.entry(pair.lie.pattern()).or_default() -= 1;
    }
    if let Some((pattern, more)) = balance.iter().find(|(_, more)| **more != 0) {
        let side = if *more > 0 { "true" } else { "false" };
        return Err(TemplateError::File {
            file: source.file.map_or_else(|| "templates/twins.txt".into(), Path::to_owned),
            what: format!(
                "the pattern `{pattern}` stands more often on the {side} side among the templates used, so that it tells which text is true; add its counterpart"
            ),
        });
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn noun(text: &str, number: Number) -> Noun {
        Noun { text: text.to_owned(), lemma: text.to_owned(), number, concept: None }
    }

    fn fill(template: &str, caption: &str, object: &Noun) -> String {
        let template = Template::parse(template, &[Slot::Caption, Slot::Object]).unwrap();
        template.fill(Filling { caption, absent: Some(object), present: None, other: None })
    }

    #[test]
    fn there_are_46_and_18() {
        let source = Source::default();
        let all = compositional(source).unwrap();
        assert_eq!(all.len(), 46);
        assert_eq!(full(source).unwrap().len(), 18);
        let distinct: std::collections::BTreeSet<_> = all.iter().map(Template::pattern).collect();
        assert_eq!(distinct.len(), 46);
        let first = all.iter().filter(|t| t.0[0] == Piece::Place(Form::Plain, Slot::Caption)).count();
        assert!(first > 23 && first < 46, "most begin with the caption, not all: {first}");
        assert!(twins(source).unwrap().len() > 10);
    }

    #[test]
    fn the_grammar_follows_the_object() {
        let (dog, people, water) =
            (noun("dog", Number::Singular), noun("people", Number::Plural), noun("water", Number::Mass));
        let apple = noun("apple", Number::Singular);
        let caption = "A boy runs";
        assert_eq!(fill("{caption} without {any object}", caption, &dog), "A boy runs without a dog");
        assert_eq!(fill("{caption} without {any object}", caption, &people), "A boy runs without any people");
        assert_eq!(fill("{caption} without {any object}", caption, &water), "A boy runs without any water");
        assert_eq!(fill("{a object} {is object} absent: {caption}", caption, &apple), "An apple is absent: a boy runs");
        assert_eq!(fill("{a object} {is object} absent: {caption}", caption, &people), "People are absent: a boy runs");
        let missing = "{caption}, there {is object}n't {any object}";
        assert_eq!(fill(missing, caption, &people), "A boy runs, there aren't any people");
        assert_eq!(fill("{caption} and {a object} {does object}n't", caption, &water), "A boy runs and water doesn't");
    }

    #[test]
    fn articles_go_by_sound() {
        for word in ["apple", "umbrella", "hour", "orange ball", "urn", "egg"] {
            assert_eq!(article(word), "an", "{word}");
        }
        for word in ["dog", "unicycle", "uniform", "horse", "ukulele", "one-way street"] {
            assert_eq!(article(word), "a", "{word}");
        }
    }

    #[test]
    fn captions_in_front_stay_and_inside_lose_their_capital_and_stop() {
        let dog = noun("dog", Number::Singular);
        assert_eq!(fill("{caption} with no {object}", "A Boy runs .", &dog), "A Boy runs with no dog");
        assert_eq!(fill("no {object}: {caption}", "Two boys run.", &dog), "No dog: two boys run");
        assert_eq!(fill("no {object}: {caption}", "Paris at night", &dog), "No dog: Paris at night");
        assert_eq!(fill("no {object}: {caption}", "", &dog), "No dog: ");
    }

    #[test]
    fn faults_name_file_and_line() {
        let dir = std::env::temp_dir().join(format!("captions-templates-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("mine.txt");
        let message = |text: &str, first| {
            std::fs::write(&file, text).unwrap();
            compositional(Source { file: Some(&file), first }).unwrap_err().to_string()
        };
        assert!(message("# mine\n{caption} no {dog}\n", None).contains("mine.txt: line 2: {dog} is no place"));
        assert!(message("{caption} no {object\n", None).contains("line 1: `{` and `}`"));
        assert!(message("{caption} no } {object}\n", None).contains("line 1: `{` and `}`"));
        assert!(message("no {object}", None).contains("{caption} must stand once, not 0 times"));
        assert!(message("{caption} {is object}", None).contains("the object is missing"));
        assert!(message("\n# nothing\n", None).contains("holds no template"));
        assert!(message("{caption} no {object}", Some(2)).contains("holds 1 templates, 2 are to be used"));
        assert!(compositional(Source { file: Some(&dir.join("none")), first: None }).is_err());

        std::fs::write(&file, "no {absent} | {a present}\n").unwrap();
        let wrong = twins(Source { file: Some(&file), first: None }).unwrap_err().to_string();
        assert!(wrong.contains("stands more often on the"), "{wrong}");
        std::fs::write(&file, "no {absent} | no {present}\n").unwrap();
        assert_eq!(twins(Source { file: Some(&file), first: None }).unwrap().len(), 1);
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn the_first_templates_are_used() {
        let all = full(Source::default()).unwrap();
        let three = full(Source { file: None, first: Some(3) }).unwrap();
        assert_eq!(three, all[..3]);
    }
}
