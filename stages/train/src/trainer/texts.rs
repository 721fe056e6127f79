//! Some of the texts of a batch.

use items::{Role, Tokens};

/// Tokens of an empty text: start and end.
pub(super) const EMPTY: usize = 2;

/// Texts with some of the roles, image by image.
pub(super) struct Texts {
    /// Their roles, in the order in which each image has them.
    pub(super) roles: Vec<Role>,
    /// Token ids, end to end.
    pub(super) ids: Vec<u32>,
    /// Number of tokens of each text.
    pub(super) lens: Vec<usize>,
}

impl Texts {
    /// The texts whose role is wanted, in the order of the batch.
    pub(super) fn of(tokens: &Tokens, wanted: impl Fn(Role) -> bool) -> Self {
        let (mut ids, mut lens) = (Vec::new(), Vec::new());
        for (text, &role) in spans(&tokens.ids, &tokens.lens).zip(tokens.roles.iter().cycle()) {
            if wanted(role) {
                ids.extend_from_slice(text);
                lens.push(text.len());
            }
        }
        Self { roles: tokens.roles.iter().copied().filter(|&role| wanted(role)).collect(), ids, lens }
    }

    /// The token ids of each text.
    pub(super) fn each(&self) -> impl Iterator<Item = &[u32]> {
        let mut rest = &self.ids[..];
        self.lens.iter().map(move |&len| {
            let (ids, after) = rest.split_at(len);
            rest = after;
            ids
        })
    }
}

/// The token ids of each text of a batch.
pub(super) fn spans<'a>(ids: &'a [u32], lens: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
    let mut rest = ids;
    lens.iter().map(move |&len| {
        let (text, after) = rest.split_at(len as usize);
        rest = after;
        text
    })
}
