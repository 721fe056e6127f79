//! CLIP's tokenizer: text to the ids of byte-pair tokens.
//!
//! It follows open_clip (`SimpleTokenizer` with `clean = "lower"`): the text is
//! cleaned (tokenizer/clean.rs), split into words by CLIP's pattern, and each word is
//! merged from bytes by rank. The vocabulary is the checkpoint's, or OpenAI's,
//! which is built in; the cleaning and the pattern are always open_clip's, even
//! where a `tokenizer.json` carries the simpler normaliser of Hugging Face (no
//! HTML entities, no mojibake, no straight quotes, another final sigma), because
//! that is how the captions were cleaned that CLIP was trained on.
//!
//! OpenAI's own code differs in two points. In a text it takes `<|startoftext|>` and
//! `<|endoftext|>` as the special tokens, where open_clip takes `<start_of_text>` and
//! `<end_of_text>`. And it refuses a text of more than 77 tokens, where open_clip cuts it.

mod clean;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::{PoisonError, RwLock};

use regex::Regex;
use serde_json::Value;
use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Vocab};

use crate::{Error, files};

/// CLIP's token that starts a text, as a vocabulary spells it.
const START: &str = "<|startoftext|>";
/// CLIP's token that ends a text, as a vocabulary spells it.
const END: &str = "<|endoftext|>";
/// The suffix of a word's last symbol.
const WORD_END: &str = "</w>";
/// Positions of a CLIP text, start and end tokens included.
pub const CONTEXT: usize = 77;

/// Longer texts are first cut to this length. It is thousands of times the length of
/// a text of [`CONTEXT`] tokens.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// The most words that are cached, and the length of the longest one in bytes.
const CACHE_WORDS: usize = 1 << 16;
const CACHE_WORD_BYTES: usize = 64;

/// `open_clip`'s pattern of a word. The special tokens and the English endings
/// match in any case (which matters for `'ſ` after lower-casing).
const WORD: &str = r"(?i:<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Tokens with their ids, and merges in order of rank.
type Vocabulary = (HashMap<String, u32>, Vec<(String, String)>);

/// A CLIP tokenizer. Encoding is deterministic and may run on many threads.
pub struct Tokenizer {
    bpe: BPE,
    symbols: [char; 256],
    word: Regex,
    start: u32,
    end: u32,
    ids: u32,
    context: usize,
    /// Characters in the vocabulary's longest token, which stands for at most as many bytes of text.
    longest_token: usize,
    cache: RwLock<HashMap<Box<str>, Box<[u32]>>>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("ids", &self.ids).field("context", &self.context).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// The tokenizer of a checkpoint folder: from its `tokenizer.json`, else from
    /// `vocab.json` and `merges.txt`, else [`Tokenizer::clip`].
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be read, and [`Error::Config`] if it is
    /// not a byte-pair vocabulary of CLIP's kind.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let whole = dir.join("tokenizer.json");
        let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
        let bad = |path: &Path| {
            let path = path.to_owned();
            move |message| Error::Config { path, message }
        };
        if files::has(&whole)? {
            let json = read_json(&whole)?;
            parse_tokenizer_json(&json).and_then(Self::new).map_err(bad(&whole))
        } else if files::has(&vocab)? {
            let tokens = parse_vocab(&read_json(&vocab)?).map_err(bad(&vocab))?;
            let text = read(&merges)?;
            let pairs = text
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with("#version"))
                .map(parse_merge)
                .collect::<Result<_, _>>()
                .map_err(bad(&merges))?;
            Self::new((tokens, pairs)).map_err(bad(&vocab))
        } else if files::has(&merges)? {
            // OpenAI's vocabulary in its place would be a guess.
            Err(bad(&vocab)("is missing, but merges.txt is there; fetch it too".into()))
        } else {
            Ok(Self::clip())
        }
    }

    /// OpenAI's vocabulary of 49,408 tokens, which nearly every CLIP uses.
    pub fn clip() -> Self {
        // The data is compiled in and a test compares it with a checkpoint's, so
        // no input can cause this error.
        Self::new(built_in()).unwrap_or_else(|message| unreachable!("built-in merges: {message}"))
    }

    /// Writes OpenAI's vocabulary for transformers: `vocab.json`, `merges.txt`,
    /// `tokenizer_config.json`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_clip(dir: &Path, context: usize) -> Result<(), Error> {
        let (vocab, merges) = built_in();
        let mut tokens: Vec<_> = vocab.into_iter().map(|(token, id)| (id, token)).collect();
        tokens.sort_unstable();
        let entries: Vec<_> =
            tokens.iter().map(|(id, token)| format!("{}: {id}", Value::from(token.as_str()))).collect();
        let merges: Vec<_> = merges.iter().map(|(left, right)| format!("{left} {right}\n")).collect();
        let config = serde_json::json!({
            "tokenizer_class": "CLIPTokenizer",
            "bos_token": START,
            "eos_token": END,
            "unk_token": END,
            "pad_token": END,
            "do_lower_case": true,
            "model_max_length": context,
        });
        for (name, text) in [
            ("vocab.json", format!("{{{}}}\n", entries.join(", "))),
            ("merges.txt", format!("#version: 0.2\n{}", merges.concat())),
            ("tokenizer_config.json", format!("{config:#}\n")),
        ] {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// Sets the most ids that [`Tokenizer::encode`] returns, start and end tokens
    /// included: `max_position_embeddings` of the text tower. It is at least 2.
    #[must_use]
    pub fn with_context(mut self, context: usize) -> Self {
        self.context = context.max(2);
        self
    }

    /// Returns the ids of a text: start token, tokens, end token; no padding. A text with
    /// more than [`context`](Tokenizer::context) ids is cut to the first `context - 1` and
    /// the end token. Time and memory are proportional to the text's length, of which at
    /// most 1 MiB is read.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let text = clean::clean(&text[..text.floor_char_boundary(MAX_TEXT_BYTES)]);
        let room = self.context - 1;
        let mut ids = Vec::with_capacity(self.context.min(32));
        ids.push(self.start);
        for word in self.word.find_iter(&text) {
            if ids.len() >= room {
                break;
            }
            self.push_word(word.as_str(), &mut ids);
        }
        ids.truncate(room);
        ids.push(self.end);
        ids
    }

    /// The most ids of a text, start and end tokens included.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Ids are below this number.
    pub fn vocab_size(&self) -> usize {
        self.ids as usize
    }

    /// The id that starts every text (49406 in OpenAI's vocabulary).
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The id that ends every text (49407 in OpenAI's vocabulary).
    pub fn end(&self) -> u32 {
        self.end
    }

    fn new((vocab, merges): Vocabulary) -> Result<Self, String> {
        let id = |token: &str| {
            vocab
                .get(token)
                .copied()
                .ok_or_else(|| format!("token {token:?} is missing; this is not the vocabulary of a CLIP text tower"))
        };
        let (start, end) = (id(START)?, id(END)?);
        let symbols = byte_symbols();
        for symbol in symbols {
            id(&symbol.to_string())?;
            id(&format!("{symbol}{WORD_END}"))?;
        }
        // `BpeBuilder` trusts that the parts and the whole of a merge are tokens.
        for (left, right) in &merges {
            id(left)?;
            id(right)?;
            id(&format!("{left}{right}"))?;
        }
        let ids = vocab.values().max().map_or(0, |id| id + 1);
        let longest_token = vocab.keys().map(|token| token.chars().count()).max().unwrap_or(1);
        let bpe = BPE::builder()
            .vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges)
            .end_of_word_suffix(WORD_END.to_owned())
            .cache_capacity(0) // ours holds ids, not strings, and serves all threads
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self {
            bpe,
            symbols,
            word: Regex::new(WORD).map_err(|e| e.to_string())?,
            start,
            end,
            ids,
            context: CONTEXT,
            longest_token,
            cache: RwLock::default(),
        })
    }

    fn push_word(&self, word: &str, ids: &mut Vec<u32>) {
        match word {
            "<start_of_text>" => return ids.push(self.start),
            "<end_of_text>" => return ids.push(self.end),
            _ => {}
        }
        // A poisoned lock still holds whole entries: an insert is the only write.
        if let Some(known) = self.cache.read().unwrap_or_else(PoisonError::into_inner).get(word) {
            return ids.extend_from_slice(known);
        }
        let found = self.merge(word);
        ids.extend_from_slice(&found);
        if word.len() <= CACHE_WORD_BYTES {
            let mut cache = self.cache.write().unwrap_or_else(PoisonError::into_inner);
            if cache.len() < CACHE_WORDS {
                cache.insert(word.into(), found.into());
            }
        }
    }

    /// The tokens of one word. A word longer than `context` of the longest tokens is cut one
    /// kilobyte beyond that length: so far away, no merge at the cut reaches the tokens that
    /// are kept.
    fn merge(&self, word: &str) -> Vec<u32> {
        let most = self.context * self.longest_token + 1024;
        let bytes = &word.as_bytes()[..word.len().min(most)];
        let spelled: String = bytes.iter().map(|byte| self.symbols[usize::from(*byte)]).collect();
        // `tokenize` fails only for an unknown symbol, and `new` has checked all 512.
        self.bpe.tokenize(&spelled).map(|tokens| tokens.into_iter().map(|token| token.id).collect()).unwrap_or_default()
    }
}

/// The character that stands for each byte in a vocabulary: itself where it is
/// printable Latin-1, else the next free one from U+0100 (GPT-2's table).
fn byte_symbols() -> [char; 256] {
    let mut spare = '\u{100}'..;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        match byte {
            33..=126 | 161..=172 | 174..=255 => char::from(byte),
            _ => spare.next().unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    })
}

/// OpenAI's vocabulary and merges; assets/README.md has the format.
fn built_in() -> Vocabulary {
    const PACKED: &[u8] = include_bytes!("../../assets/clip_bpe_merges.zlib");
    let mut planes = Vec::new();
    // A failure leaves the planes short, and the vocabulary without its last tokens.
    let _ = flate2::read::ZlibDecoder::new(PACKED).read_to_end(&mut planes);
    let count = planes.len() / 4;
    let id = |plane: usize, merge: usize| {
        let byte = |plane: usize| planes[plane * count + merge];
        usize::from(u16::from_le_bytes([byte(plane), byte(plane + 1)]))
    };

    let mut bytes = byte_symbols().map(String::from).to_vec();
    bytes.sort_by_key(|symbol| symbol.chars().next());
    let closed: Vec<String> = bytes.iter().map(|symbol| format!("{symbol}{WORD_END}")).collect();
    let mut tokens = [bytes, closed].concat();
    let mut merges = Vec::with_capacity(count);
    for merge in 0..count {
        let (left, right) = (tokens[id(0, merge)].clone(), tokens[id(2, merge)].clone());
        tokens.push(format!("{left}{right}"));
        merges.push((left, right));
    }
    tokens.extend([START.to_owned(), END.to_owned()]);
    (tokens.into_iter().zip(0..).collect(), merges)
}

fn parse_tokenizer_json(json: &Value) -> Result<Vocabulary, String> {
    let model = &json["model"];
    let kind = model["type"].as_str().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(format!("model.type is {kind:?}; CLIP text towers need \"BPE\""));
    }
    let mut vocab = parse_vocab(&model["vocab"]).map_err(|e| format!("model.vocab: {e}"))?;
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        if let (Some(token), Some(id)) = (added["content"].as_str(), as_id(&added["id"])) {
            vocab.entry(token.to_owned()).or_insert(id);
        }
    }
    let merges = model["merges"].as_array().ok_or("model.merges is not a list")?;
    let merges = merges.iter().map(|merge| match merge {
        Value::String(line) => parse_merge(line),
        other => match other.as_array().map(Vec::as_slice) {
            Some([Value::String(left), Value::String(right)]) => Ok((left.clone(), right.clone())),
            _ => Err(format!("model.merges: {other} is not a pair of tokens")),
        },
    });
    Ok((vocab, merges.collect::<Result<_, _>>()?))
}

fn parse_vocab(json: &Value) -> Result<HashMap<String, u32>, String> {
    let object = json.as_object().ok_or("not an object of token and id")?;
    object
        .iter()
        .map(|(token, id)| match as_id(id) {
            Some(id) => Ok((token.clone(), id)),
            None => Err(format!("the id of token {token:?} is {id}, not a number from 0")),
        })
        .collect()
}

fn as_id(json: &Value) -> Option<u32> {
    // One below the type's maximum, so that "largest id + 1" fits.
    json.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id < u32::MAX)
}

fn parse_merge(line: &str) -> Result<(String, String), String> {
    match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => Ok((left.to_owned(), right.to_owned())),
        _ => Err(format!("merge {line:?} is not two tokens with a space between")),
    }
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(Error::io(path))
}

fn read_json(path: &Path) -> Result<Value, Error> {
    serde_json::from_str(&read(path)?).map_err(|e| Error::Config { path: path.to_owned(), message: e.to_string() })
}
