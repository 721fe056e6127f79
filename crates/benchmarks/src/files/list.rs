//! Lists that are written in one field of a table.

/// A list in a field: a JSON or Python list of strings, else the parts between semicolons.
pub fn list_field(field: &str) -> Vec<String> {
    let field = field.trim();
    literal_list(field)
        .unwrap_or_else(|| field.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

/// A JSON or Python list of strings, as in `['a dog', "a dog's ball"]`; none if the text is not
/// such a list.
pub fn literal_list(text: &str) -> Option<Vec<String>> {
    let mut letters = text.trim().strip_prefix('[')?.strip_suffix(']')?.chars().peekable();
    let mut list = Vec::new();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let Some(quote) = letters.next() else { return Some(list) };
        if quote != '\'' && quote != '"' {
            return None;
        }
        let mut item = String::new();
        loop {
            match letters.next()? {
                letter if letter == quote => break,
                '\\' => match letters.next()? {
                    'n' => item.push('\n'),
                    't' => item.push('\t'),
                    'r' => item.push('\r'),
                    escape @ ('x' | 'u') => {
                        let digits: String = letters.by_ref().take(if escape == 'x' { 2 } else { 4 }).collect();
                        item.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?);
                    }
                    other => item.push(other),
                },
                letter => item.push(letter),
            }
        }
        list.push(item);
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        match letters.next() {
            Some(',') => {}
            None => return Some(list),
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_json_python_and_semicolons() {
        assert_eq!(list_field(r#"['a dog', "a dog's ball"]"#), ["a dog", "a dog's ball"]);
        assert_eq!(list_field(r#"["a \"b\"", 'it\'s \u00e9']"#), ["a \"b\"", "it's é"]);
        assert_eq!(list_field("dog; hot dog ;"), ["dog", "hot dog"]);
        assert!(list_field("[]").is_empty() && list_field("").is_empty());
        assert_eq!(literal_list("['a' 'b']"), None);
        assert_eq!(literal_list("['a"), None);
    }
}
