//! Brace expansion: `train-{000..011}.tar`.

use super::UrlError;

/// A pattern that gives more shards than this is a mistake.
const MOST: usize = 1_000_000;
/// And so is one whose names have more bytes than this in all.
const MOST_BYTES: usize = 256 << 20;
/// Braces in a pattern, nested or one after the other.
const MOST_BRACES: usize = 100;
/// The most digits of a padded number.
const MOST_DIGITS: usize = 64;

/// Expands braces as bash does: `{a,b}`, `{000..011}`, `{0..10..2}`, `{a..e}`, nested.
///
/// Numbers are padded to the longer end when one of them starts with a zero.
/// Braces without a comma or a range stay as they are.
///
/// # Errors
/// [`UrlError::Pattern`] when a brace is not closed or opened, when there are more than 100
/// of them, or when there would be more than a million shards.
pub fn expand_braces(pattern: &str) -> Result<Vec<String>, UrlError> {
    expand(pattern, &mut 0).map_err(|fault| UrlError::Pattern { pattern: pattern.to_owned(), fault })
}

/// `braces` counts those that were opened so far: each is a level of recursion or a loop over its results.
fn expand(pattern: &str, braces: &mut usize) -> Result<Vec<String>, String> {
    let Some(open) = pattern.find('{') else {
        return match pattern.contains('}') {
            true => Err("has a `}` that closes nothing".to_owned()),
            false => Ok(vec![pattern.to_owned()]),
        };
    };
    *braces += 1;
    if *braces > MOST_BRACES {
        return Err(format!("has more than {MOST_BRACES} braces"));
    }
    let (head, inside) = (&pattern[..open], &pattern[open + 1..]);
    if head.contains('}') {
        return Err("has a `}` that closes nothing".to_owned());
    }

    // The matching brace, and the commas before it that are not in inner braces.
    let (mut level, mut close, mut parts, mut from) = (0usize, None, Vec::new(), 0);
    for (at, char) in inside.char_indices() {
        match char {
            '{' => level += 1,
            '}' if level > 0 => level -= 1,
            '}' => {
                close = Some(at);
                break;
            }
            ',' if level == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    let close = close.ok_or("has a `{` that is never closed")?;
    parts.push(&inside[from..close]);

    let mut middles = Vec::new();
    if parts.len() > 1 {
        for part in parts {
            middles.extend(expand(part, braces)?);
            fits(middles.len(), middles.iter().map(String::len).max().unwrap_or(0))?;
        }
    } else if let Some(range) = range(parts[0])? {
        middles = range;
    } else {
        middles.extend(expand(parts[0], braces)?.into_iter().map(|text| format!("{{{text}}}")));
    }

    let tails = expand(&inside[close + 1..], braces)?;
    let longest = |texts: &[String]| texts.iter().map(String::len).max().unwrap_or(0);
    fits(middles.len().saturating_mul(tails.len()), head.len() + longest(&middles) + longest(&tails))?;
    Ok(middles.iter().flat_map(|middle| tails.iter().map(move |tail| format!("{head}{middle}{tail}"))).collect())
}

/// Whether `count` names of at most `length` bytes are within the limits.
fn fits(count: usize, length: usize) -> Result<(), String> {
    if count > MOST {
        return Err(format!("expands to more than {MOST} shards"));
    }
    match count.saturating_mul(length) > MOST_BYTES {
        true => Err(format!("expands to names of more than {} MiB", MOST_BYTES >> 20)),
        false => Ok(()),
    }
}

/// `1..3`, `000..011`, `a..e`, each with an optional `..step`; `None` for anything else.
fn range(text: &str) -> Result<Option<Vec<String>>, String> {
    let ends: Vec<&str> = text.split("..").collect();
    let (first, last, step) = match ends[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Ok(None),
    };
    let Ok(step) = step.parse::<i64>().map(i64::unsigned_abs) else { return Ok(None) };
    let step = step.max(1);
    if let (Ok(a), Ok(b)) = (first.parse::<i64>(), last.parse::<i64>()) {
        let padded = |end: &str| end.trim_start_matches('-').starts_with('0') && end.trim_start_matches('-').len() > 1;
        let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
        if width > MOST_DIGITS {
            return Err(format!("has a number of more than {MOST_DIGITS} digits"));
        }
        return Ok(Some(steps(a, b, step)?.map(|n| format!("{n:0width$}")).collect()));
    }
    let letter = |end: &str| match end.as_bytes() {
        [byte] if byte.is_ascii_alphabetic() => Some(i64::from(*byte)),
        _ => None,
    };
    let (Some(a), Some(b)) = (letter(first), letter(last)) else { return Ok(None) };
    Ok(Some(steps(a, b, step)?.map(|n| char::from(n as u8).to_string()).collect()))
}

/// From `a` to `b`, both included, up or down.
fn steps(a: i64, b: i64, step: u64) -> Result<impl Iterator<Item = i64>, String> {
    let count = a.abs_diff(b) / step;
    if count >= MOST as u64 {
        return Err(format!("expands to more than {MOST} shards"));
    }
    Ok((0..=count).map(move |k| {
        // The result is between the ends, but the distance may not fit an i64.
        let offset = (k * step) as i64;
        if a <= b { a.wrapping_add(offset) } else { a.wrapping_sub(offset) }
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn join(pattern: &str) -> String {
        expand_braces(pattern).unwrap().join(" ")
    }

    #[test]
    fn braces_expand_as_in_bash() {
        let table = [
            ("a.tar", "a.tar"),
            ("s-{000..003}.tar", "s-000.tar s-001.tar s-002.tar s-003.tar"),
            ("{8..11}", "8 9 10 11"),
            ("{08..11}", "08 09 10 11"),
            ("{0..100..50}", "0 50 100"),
            ("{000..5..2}", "000 002 004"),
            ("{3..1}", "3 2 1"),
            ("{-1..1}", "-1 0 1"),
            ("{-01..1}", "-01 000 001"),
            ("{a..d}", "a b c d"),
            ("{a,b}{1..2}", "a1 a2 b1 b2"),
            ("{a,}x", "ax x"),
            ("x{a,b{1..2},{c,d}e}y", "xay xb1y xb2y xcey xdey"),
            ("{{0..1},5}", "0 1 5"),
            ("{}", "{}"),
            ("{a}", "{a}"),
            ("{a{1,2}}", "{a1} {a2}"),
            ("{1..b}", "{1..b}"),
            (
                "{-9223372036854775808..9223372036854775807..9223372036854775807}",
                "-9223372036854775808 -1 9223372036854775806",
            ),
            ("{train,dev}/x-{00..01}.tar", "train/x-00.tar train/x-01.tar dev/x-00.tar dev/x-01.tar"),
        ];
        for (pattern, want) in table {
            assert_eq!(join(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn broken_braces_say_what_is_wrong() {
        for (pattern, part) in [
            ("s-{000..003.tar", "never closed"),
            ("s-000..003}.tar", "closes nothing"),
            ("{a,b}}", "closes nothing"),
            ("{0..9999999}", "more than 1000000"),
            ("{-9223372036854775808..9223372036854775807}", "more than 1000000"),
            ("{0..999}{0..999}{0..999}", "more than 1000000"),
            (&"{".repeat(40), "never closed"),
            (&format!("{}a{}", "{".repeat(101), "}".repeat(101)), "more than 100 braces"),
            (&"{a}".repeat(101), "more than 100 braces"),
            // Each is within bounds, and all together are not.
            (&format!("{{{}{{0..999999}}}}", "{0..999999},".repeat(30)), "more than 1000000"),
            (&format!("{}{{0..999999}}", "x".repeat(300)), "more than 256 MiB"),
            (&format!("{{{}1..2}}", "0".repeat(70_000)), "more than 64 digits"),
        ] {
            let error = expand_braces(pattern).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(pattern), "{error}");
        }
    }
}
