//! Which texts of an image a published loss takes for its captions and for its false texts.

use items::Role;
use pipeline_engine::choice;

use super::TextNeed;

choice! {
    /// A true text of each image.
    pub enum TrueText {
        /// The caption.
        Caption = "caption",
        /// The whole caption and a denial of something that the image does not show; the writer `negated` gives it.
        Negated = "negated",
        /// "A and no B"; the writer `tng` gives it.
        Compositional = "compositional",
        /// The true text of the first pair; the writer `twins` gives it.
        Twin = "twin",
    }
}

impl TrueText {
    /// Its role.
    pub fn role(self) -> Role {
        match self {
            Self::Caption => Role::Original,
            Self::Negated => Role::Negated(0),
            Self::Compositional => Role::Compositional,
            Self::Twin => Role::True(0),
        }
    }

    /// Returns the need for this text.
    pub fn need(self) -> TextNeed {
        let (what, help) = match self {
            Self::Caption => ("captions", "add a stage captions before this one"),
            Self::Negated => ("whole captions with a denial", "list \"negated\" in `writer` in the stage captions"),
            Self::Compositional => ("compositional negations", "list \"tng\" in `writer` in the stage captions"),
            Self::Twin => ("true texts", "list \"twins\" in `writer` in the stage captions"),
        };
        TextNeed { roles: vec![self.role()], what, help }
    }
}

choice! {
    /// Texts that are false of their image.
    pub enum FalseText {
        /// The whole caption and a denial of something that the image shows; the writer `negated` gives it.
        Contradiction = "contradiction",
        /// The false text of each pair; the writer `twins` gives it.
        Twin = "twin",
    }
}

impl FalseText {
    /// The role of number n.
    pub fn role(self) -> fn(u8) -> Role {
        match self {
            Self::Contradiction => Role::Misnegated,
            Self::Twin => Role::False,
        }
    }

    /// Whether a role is one of these.
    pub fn is(self, role: Role) -> bool {
        match self {
            Self::Contradiction => matches!(role, Role::Misnegated(_)),
            Self::Twin => matches!(role, Role::False(_)),
        }
    }

    /// Returns the need for one of these texts.
    pub fn need(self) -> TextNeed {
        let (what, help) = match self {
            Self::Contradiction => (
                "contradictions of the captions",
                "list \"negated\" in `writer` and set negated.contradictions = true in the stage captions",
            ),
            Self::Twin => ("false texts", "list \"twins\" in `writer` in the stage captions"),
        };
        TextNeed { roles: vec![self.role()(0)], what, help }
    }
}
