//! The cleaning of a text before it is split, as open_clip's `_clean_lower`:
//! `ftfy.fix_text`, HTML entities twice, white space, lower case.
//!
//! No maintained crate does what ftfy does, so its steps are written here: terminal
//! escapes, ligatures, character width, quotes, control characters and NFC in
//! full; of the repair of mojibake ("donâ€™t") only the most common kind, see
//! [`fix_mojibake`]. Plain ASCII without an entity, nearly every caption, needs
//! none of this and takes a short cut.

use std::borrow::Cow;

use unicode_normalization_alignments::UnicodeNormalization;

/// ftfy repeats its steps until nothing changes; an entity nested a hundred
/// thousand deep must not make that quadratic.
const MAX_ROUNDS: usize = 8;

/// The text without mojibake, entities and control characters, white space
/// collapsed to single spaces, in lower case.
pub(super) fn clean(text: &str) -> String {
    let plain = |b: u8| (b' '..0x7f).contains(&b) && b != b'&' || b"\t\n\r\x0c".contains(&b);
    let text = if text.bytes().all(plain) {
        Cow::Borrowed(text)
    } else {
        let twice = unescape(&unescape(&fix_text(text))).into_owned();
        Cow::Owned(twice)
    };
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    // The whole text at once: the lower case of a capital sigma depends on what follows it.
    if out.is_ascii() {
        out.make_ascii_lowercase();
        out
    } else {
        out.to_lowercase()
    }
}

/// ftfy's `fix_text`, line by line.
fn fix_text(text: &str) -> String {
    let mut entities = true;
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        // From the first line with markup on, entities stay as they are.
        entities &= !line.contains('<');
        out.push_str(&fix_line(line, entities));
    }
    out
}

fn fix_line(line: &str, entities: bool) -> String {
    let mut line = line.to_owned();
    for _ in 0..MAX_ROUNDS {
        let before = line.clone();
        if entities {
            line = unescape_closed(&line);
        }
        line = fix_mojibake(line);
        line = remove_terminal_escapes(&line);
        line = line.chars().fold(String::with_capacity(line.len()), fix_char);
        if !line.is_ascii() {
            line = line.nfc().map(|(c, _)| c).collect();
        }
        if line == before {
            break;
        }
    }
    line
}

/// HTML entities, also those without a semicolon, as Python's `html.unescape`.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains("&#") {
        return htmlize::unescape(text);
    }
    // ftfy drops a reference to a control character.
    let dropped = |c: char| c.is_control() && !c.is_whitespace() && !text.contains(c);
    Cow::Owned(htmlize::unescape(text).chars().filter(|c| !dropped(*c)).collect())
}

/// Replaces entities that end in a semicolon. A name in capitals that HTML does not know
/// stands for the capital letter (`&EACUTE;`).
fn unescape_closed(text: &str) -> String {
    const LONGEST: usize = 26;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(LONGEST).position(|b| b == b';');
        let Some(entity) = end.map(|end| &rest[..=end]).filter(|e| e[1..].bytes().all(in_entity)) else {
            out.push('&');
            rest = &rest[1..];
            continue;
        };
        let mut found = unescape(entity).into_owned();
        if found.contains(';') && !entity.bytes().any(|b| b.is_ascii_lowercase()) {
            found = unescape(&entity.to_ascii_lowercase()).to_uppercase();
        }
        out.push_str(if found.contains(';') { entity } else { &found });
        rest = &rest[entity.len()..];
    }
    out.push_str(rest);
    out
}

fn in_entity(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'#' || byte == b';'
}

/// Removes `ESC [ digits ; digits letter`, a terminal's colours.
fn remove_terminal_escapes(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let tail = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match tail.strip_prefix(|c: char| c.is_ascii_alphabetic()) {
            Some(rest) => out.push_str(rest),
            None => {
                out.push('[');
                out.push_str(part);
            }
        }
    }
    out
}

/// Adds a character in its plain form: ligatures taken apart, full width made
/// normal, quotes straightened, control characters dropped.
fn fix_char(mut out: String, c: char) -> String {
    match c {
        '\0'..='\x08' | '\x0b' | '\x0e'..='\x1f' | '\x7f' => {}
        '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}' => {}
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => out.push('\''),
        '\u{201c}'..='\u{201f}' => out.push('"'),
        '\u{3000}' => out.push(' '),
        '\u{ff01}'..='\u{ffef}' => out.extend(std::iter::once(c).nfkc().map(|(c, _)| c)),
        _ => match LIGATURES.iter().find(|(ligature, _)| *ligature == c) {
            Some((_, letters)) => out.push_str(letters),
            None => out.push(c),
        },
    }
    out
}

const LIGATURES: [(char, &str); 22] = [
    ('Ĳ', "IJ"),
    ('ĳ', "ij"),
    ('ŉ', "'n"),
    ('Ǳ', "DZ"),
    ('ǲ', "Dz"),
    ('ǳ', "dz"),
    ('Ǆ', "DŽ"),
    ('ǅ', "Dž"),
    ('ǆ', "dž"),
    ('Ǉ', "LJ"),
    ('ǈ', "Lj"),
    ('ǉ', "lj"),
    ('Ǌ', "NJ"),
    ('ǋ', "Nj"),
    ('ǌ', "nj"),
    ('ﬀ', "ff"),
    ('ﬁ', "fi"),
    ('ﬂ', "fl"),
    ('ﬃ', "ffi"),
    ('ﬄ', "ffl"),
    ('ﬅ', "ſt"),
    ('ﬆ', "st"),
];

/// Undoes UTF-8 that was read as Windows-1252 or Latin-1: "schÃ¶n", "donâ€™t"; also
/// where that happened twice.
///
/// A run of characters whose bytes are valid UTF-8 is decoded if it is unlikely to be
/// meant as it stands ([`is_mojibake`]). If a line has such a run and all its bytes are
/// valid UTF-8, the whole line is decoded. Text that went through another code page, or
/// lost bytes on its way, stays as it is; ftfy repairs some of that too.
fn fix_mojibake(mut text: String) -> String {
    for _ in 0..MAX_ROUNDS {
        if !text.chars().any(|c| matches!(c, 'Â'..='ô' | '\u{80}'..='\u{9f}')) {
            break;
        }
        let fixed = fix_mojibake_once(&text);
        if fixed == text {
            break;
        }
        text = fixed;
    }
    text
}

fn fix_mojibake_once(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let bytes: Vec<Option<u8>> = chars.iter().map(|c| windows_1252(*c)).collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let mut run = String::new();
        let mut end = at;
        while let Some((c, length)) = sequence(&bytes[end..]) {
            run.push(c);
            end += length;
        }
        let before = at.checked_sub(1).map(|i| chars[i]);
        if end > at && is_mojibake(before, &chars[at..end]) {
            out.push_str(&run);
            at = end;
        } else {
            out.push(c1_control(chars[at]).unwrap_or(chars[at]));
            at += 1;
        }
    }
    let whole = || String::from_utf8(bytes.into_iter().collect::<Option<_>>()?).ok();
    if out == text { out } else { whole().unwrap_or(out) }
}

/// The character that the first two or more bytes spell in UTF-8, and the number of
/// these bytes.
fn sequence(bytes: &[Option<u8>]) -> Option<(char, usize)> {
    let length = match bytes.first()?.as_ref()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let bytes: Vec<u8> = bytes.get(..length)?.iter().copied().collect::<Option<_>>()?;
    Some((std::str::from_utf8(&bytes).ok()?.chars().next()?, length))
}

/// True if a run of sequences is unlikely to be meant as it stands: if it has more than
/// two characters or a control character, or is (with few exceptions) one that ftfy 6.3 repairs.
fn is_mojibake(before: Option<char>, run: &[char]) -> bool {
    let symbol = |c: char| "ƒ†‡ˆ‰˜¤¦§¨ª¬¯°±²³µ¶¸¹º¼½¾".contains(c);
    match run {
        _ if run.iter().any(|c| c1_control(*c).is_some()) => true,
        ['Â' | 'Ã' | 'Î' | 'Ð', second] => !"…’Ž".contains(*second),
        ['â' | 'ï' | 'ð', ..] => true,
        ['Ä'..='Ñ' | 'Ø' | 'Ü' | 'Ý', second] => {
            symbol(*second) || before.is_some_and(char::is_alphabetic) && "‚„‹‘“•¡©«¿".contains(*second)
        }
        ['à'..='ï', second, _] => symbol(*second),
        _ => run.len() > 2,
    }
}

/// The byte of a character in Windows-1252, or in Latin-1 if Windows-1252 lacks it.
fn windows_1252(c: char) -> Option<u8> {
    match u8::try_from(c) {
        Ok(byte) => Some(byte),
        Err(_) => (0x80..).zip(HIGH_1252).find(|(_, high)| *high == c).map(|(byte, _)| byte),
    }
}

/// The character that Windows-1252 has in place of a C1 control character.
fn c1_control(c: char) -> Option<char> {
    let at = u8::try_from(c).ok()?.checked_sub(0x80)?;
    HIGH_1252.get(usize::from(at)).copied()
}

/// Windows-1252 from 0x80 to 0x9F; five codes are unassigned and keep their control character.
const HIGH_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘', '’',
    '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];
