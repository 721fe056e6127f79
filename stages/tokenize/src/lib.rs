//! The stage `tokenize`: the texts of a batch to token ids, end to end without
//! padding, with the model's tokenizer ([`Tokenizer`]); so the stage needs `[model]`.

use std::sync::Arc;

use clip::Tokenizer;
use items::{Captioned, Tokens};
use model::Model;
use pipeline_engine::{Build, Built, Look, Map, Pass, StageError, StageKind, Worker, options};

options! {
    /// Options of the stage `tokenize`.
    pub struct TokenizeOptions {
        /// Threads that tokenize.
        workers: usize = 1, 1..=256 => free;
    }
}

/// The kind `tokenize`.
#[derive(Debug)]
pub struct Tokenize;

impl StageKind for Tokenize {
    const KIND: &'static str = "tokenize";
    const ABOUT: &'static str = "turns texts into the token ids of the model";
    type In = Captioned;
    type Out = Tokens;
    type Options = TokenizeOptions;

    fn verify(_: &TokenizeOptions, look: &mut Look<'_>) {
        if let Some(model) = Model::seen(look)
            && let Err(error) = model.tokenizer()
        {
            look.fault("", error.to_string(), "");
        }
    }

    fn build(options: TokenizeOptions, build: &mut Build<'_>) -> Result<Built<Captioned, Tokens>, StageError> {
        let tokenizer = Model::of(build)?.tokenizer()?;
        Ok(Built::Map { workers: options.workers, map: Box::new(TokenizeMap(tokenizer)) })
    }
}

struct TokenizeMap(Arc<Tokenizer>);

impl Map<Captioned, Tokens> for TokenizeMap {
    fn worker(&self, _: &Pass<'_>) -> Result<Box<dyn Worker<Captioned, Tokens> + '_>, StageError> {
        Ok(Box::new(|_: &Pass<'_>, captioned| Ok(tokenize(&self.0, captioned))))
    }
}

fn tokenize(tokenizer: &Tokenizer, captioned: Captioned) -> Tokens {
    let Captioned { batch, roles, texts } = captioned;
    let (mut ids, mut lens) = (Vec::new(), Vec::with_capacity(texts.len()));
    for text in &texts {
        let one = tokenizer.encode(text);
        lens.push(one.len() as u32);
        ids.extend(one);
    }
    Tokens { batch, roles, ids, lens }
}

#[cfg(test)]
mod tests {
    use items::{Batch, Role};

    use super::*;

    #[test]
    fn texts_lie_end_to_end() {
        let batch = Batch { epoch: 1, step: 0, items: [].into(), dim: 0, features: [].into() };
        let long = "cat ".repeat(100);
        let texts = vec!["a cat".to_owned(), String::new(), long];
        let captioned = Captioned { batch, roles: [Role::Original].into(), texts };
        let tokens = tokenize(&Tokenizer::clip(), captioned);
        assert_eq!(tokens.lens, [4, 2, 77]);
        assert_eq!(tokens.ids[..7], [49406, 320, 2368, 49407, 49406, 49407, 49406]);
        assert_eq!(tokens.ids.len(), 83);
        assert_eq!(tokens.ids[82], 49407);
    }
}
