//! The tokenizer against open_clip's ids.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clip::Tokenizer;
use serde_json::{Value, json};

/// A file of the shared folder beside the repository.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !path.exists() {
        println!("skipped: {} is missing", path.display());
        return None;
    }
    Some(path)
}

fn ids(list: &Value) -> Vec<u32> {
    let ids: Vec<u32> = list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
    let end = ids.iter().rposition(|id| *id != 0).map_or(0, |at| at + 1);
    ids[..end].to_vec()
}

#[test]
fn golden_ids() {
    let Some(path) = shared("golden/tokenizer/tokens.json") else { return };
    let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(cases.len(), 200);
    let tokenizer = Tokenizer::clip();
    let mut wrong = Vec::new();
    let mut unlike_openai = Vec::new();
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        let (found, expected) = (tokenizer.encode(text), ids(&case["open_clip_ids"]));
        if found != expected {
            wrong.push(format!("{text:?}\n  found    {found:?}\n  expected {expected:?}"));
        }
        if expected != ids(&case["openai_clip_ids"]) && case["too_long_for_openai_clip"] == json!(false) {
            unlike_openai.push(text);
        }
    }
    println!("{} of 200 as open_clip", 200 - wrong.len());
    println!("where OpenAI's code differs: {unlike_openai:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn our_own_golden_ids() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("data/tokens.json")).unwrap();
    assert!(cases.len() >= 25);
    let tokenizer = Tokenizer::clip();
    for case in &cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text), ids(&case["ids"]), "{text:?}");
    }
}

#[test]
fn checkpoint_and_built_in_vocabulary_are_one() {
    let Some(dir) = shared("golden/tiny_clip") else { return };
    let ours = Tokenizer::clip();
    let theirs = Tokenizer::open(&dir).unwrap();
    assert_eq!((ours.vocab_size(), ours.start(), ours.end()), (49408, 49406, 49407));
    assert_eq!((theirs.vocab_size(), theirs.start(), theirs.end()), (49408, 49406, 49407));

    let json: Value = serde_json::from_str(&fs::read_to_string(dir.join("tokenizer.json")).unwrap()).unwrap();
    let mut seen = BTreeSet::new();
    for (id, (left, right)) in json["model"]["merges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| (m[0].as_str().unwrap(), m[1].as_str().unwrap()))
        .enumerate()
    {
        assert_eq!(json["model"]["vocab"][format!("{left}{right}")], json!(id + 512));
        // A whole word that is one token in lower case must be encoded as that token.
        let word = format!("{left}{right}");
        if let Some(word) = word.strip_suffix("</w>")
            && word.bytes().all(|b| b.is_ascii_lowercase())
        {
            let found = [ours.encode(word), theirs.encode(word)];
            assert_eq!(found, [vec![49406, id as u32 + 512, 49407], vec![49406, id as u32 + 512, 49407]]);
            seen.insert(id);
        }
    }
    println!("{} words of one token", seen.len());
    assert!(seen.len() > 20_000);
}

#[test]
fn both_layouts_of_a_vocabulary() {
    let words = [("a", "b</w>"), ("c", "ab</w>")];
    let symbols: Vec<String> = (0..=255u8)
        .scan(256, |spare, byte| {
            let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
            *spare += u32::from(!printable);
            Some(if printable { byte.into() } else { char::from_u32(*spare - 1).unwrap() })
        })
        .map(String::from)
        .collect();
    let tokens = symbols
        .iter()
        .cloned()
        .chain(symbols.iter().map(|s| format!("{s}</w>")))
        .chain(words.iter().map(|(l, r)| format!("{l}{r}")))
        .chain(["<|startoftext|>".into(), "<|endoftext|>".into()]);
    let vocab: Value = tokens.enumerate().map(|(id, token)| (token, json!(id))).collect();
    let expected = vec![514, 513, u32::from(b'z') + 256, 515];

    let split = tempfile::tempdir().unwrap();
    fs::write(split.path().join("vocab.json"), vocab.to_string()).unwrap();
    fs::write(split.path().join("merges.txt"), "#version: 0.2\na b</w>\nc ab</w>\n").unwrap();
    assert_eq!(Tokenizer::open(split.path()).unwrap().encode("CAB z"), expected);

    for merges in [json!(["a b</w>", "c ab</w>"]), json!([["a", "b</w>"], ["c", "ab</w>"]])] {
        let one = tempfile::tempdir().unwrap();
        let json = json!({"model": {"type": "BPE", "vocab": vocab, "merges": merges}});
        fs::write(one.path().join("tokenizer.json"), json.to_string()).unwrap();
        assert_eq!(Tokenizer::open(one.path()).unwrap().encode("CAB z"), expected);
    }

    let none = tempfile::tempdir().unwrap();
    assert_eq!(Tokenizer::open(none.path()).unwrap().encode("cat"), [49406, 2368, 49407]);
}

#[test]
fn what_is_no_clip_vocabulary_is_named() {
    let cases = [
        ("tokenizer.json", "{", "EOF"),
        ("tokenizer.json", "{}", "model.vocab"),
        ("tokenizer.json", r#"{"model": {"type": "WordPiece", "vocab": {}}}"#, "WordPiece"),
        ("tokenizer.json", r#"{"model": {"vocab": {"a": -1}, "merges": []}}"#, "-1"),
        ("tokenizer.json", r#"{"model": {"vocab": {"a": 1}, "merges": [3]}}"#, "pair of tokens"),
        ("tokenizer.json", r#"{"model": {"vocab": {"a": 1}, "merges": []}}"#, "<|startoftext|>"),
        ("vocab.json", r#"{"a": 0}"#, "merges.txt"),
    ];
    for (file, text, part) in cases {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(file), text).unwrap();
        let message = Tokenizer::open(dir.path()).unwrap_err().to_string();
        println!("{message}");
        assert!(message.contains(part), "{message} lacks {part}");
        assert!(message.contains(dir.path().to_str().unwrap()), "{message} names no file");
    }
}

/// Texts that must give the same tokens; each pair tests one step of the cleaning.
#[test]
fn cleaning() {
    let same = [
        ("&lt;b&gt; AT&amp;amp;T", "<b> at&t"),
        ("P&EACUTE;REZ", "pérez"),
        ("&#x63;at &#99;at&#1;", "cat cat"),
        ("schÃ¶n donâ€™t Ã©tÃ© ðŸ˜€ Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "schön don't été 😀 привет"),
        ("“x” ‘y’", "\"x\" 'y'"),
        ("ＡＢＣ　ﾀ ﬁﬂ", "abc タ fifl"),
        ("e\u{301}", "é"),
        ("\u{1b}[1;31mred\u{1b}[0m \u{0}\u{feff}a\u{7f}", "red a"),
        (" a\u{a0}b\u{2028}c\r\nd\u{3000}", "a b c d"),
    ];
    let stays = ["MARQUÉ…", "voilà", "« café »", "LÅNG “ÅÄÖ”", "10°C ±5µm", "a&b", "&notanentity"];
    let tokenizer = Tokenizer::clip();
    for (text, plain) in same {
        assert_eq!(tokenizer.encode(text), tokenizer.encode(plain), "{text:?}");
    }
    for text in stays {
        // A word mistaken for mojibake would lose bytes, and with them tokens.
        let marked = text.replace(|c: char| !c.is_alphanumeric() && c != '°', " ");
        assert!(tokenizer.encode(text).len() >= tokenizer.encode(&marked).len(), "{text:?}");
    }
}

#[test]
fn long_texts_are_cut_and_cheap() {
    let tokenizer = Tokenizer::clip();
    for text in ["cat ", "x", "a photo&amp;", "é", "👨‍👩‍👧", "&amp", "\u{1b}[", "Ã", "a\u{301}", " "] {
        let megabyte = text.repeat((1 << 20) / text.len() + 1);
        let some = text.repeat(20_000 / text.len());
        let found = tokenizer.encode(&megabyte);
        assert!(found.len() <= 77);
        assert_eq!((found[0], found[found.len() - 1]), (49406, 49407));
        assert_eq!(found, tokenizer.encode(&some), "{text:?}");
    }
    let nested = format!("&{}lt;", "amp;".repeat(1 << 18));
    assert!(tokenizer.encode(&nested).len() <= 77);

    let short = Tokenizer::clip().with_context(16);
    let found = short.encode("cat cat cat cat cat cat cat cat cat cat cat cat cat cat cat cat");
    assert_eq!(found.len(), 16);
    assert_eq!(found[15], 49407);
}

/// Cutting a long word must not change the tokens that are kept.
#[test]
fn the_cut_of_a_long_word_changes_nothing() {
    let cut = Tokenizer::clip();
    // The longer context moves the cut far beyond the words below.
    let whole = Tokenizer::clip().with_context(4000);
    let mut state = 1u64;
    for letters in [b"ab".as_slice(), b"the", b"aeinrst", b"abcdefghijklmnopqrstuvwxyz", b"-=", b"!?."] {
        for _ in 0..4 {
            let word: String = (0..8000)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    char::from(letters[(state >> 33) as usize % letters.len()])
                })
                .collect();
            assert_eq!(cut.encode(&word)[..76], whole.encode(&word)[..76]);
        }
    }
}

#[test]
fn threads_agree() {
    let tokenizer = Tokenizer::clip();
    let texts: Vec<String> = (0..200).map(|i| format!("a photo of {i} dogs near café {}", i * 7)).collect();
    let fresh = Tokenizer::clip();
    let alone: Vec<Vec<u32>> = texts.iter().map(|t| fresh.encode(t)).collect();
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..4).map(|_| scope.spawn(|| texts.iter().map(|t| tokenizer.encode(t)).collect::<Vec<_>>())).collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), alone);
        }
    });
}

#[test]
#[ignore = "a measurement"]
fn speed() {
    let tokenizer = Tokenizer::clip();
    let texts: Vec<String> = (0..20_000)
        .map(|i| format!("A man riding wave {} on top of a surfboard, and no dog is visible.", i % 500))
        .collect();
    let start = std::time::Instant::now();
    let tokens: usize = texts.iter().map(|text| tokenizer.encode(text).len()).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("{tokens} tokens, {:.0} tokens/s, {:.0} texts/s", tokens as f64 / seconds, 20_000.0 / seconds);
}
