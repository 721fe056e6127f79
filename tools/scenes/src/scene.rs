//! The content of a scene: everything that is true of a picture, before it is drawn.

use serde::Serialize;

use crate::caption;
use crate::color::Color;
use crate::dice::{Dice, Purpose};
use crate::theme::{THEMES, Theme};
use crate::things::{Place, Thing, thing, things};

/// Pictures are this many pixels to a side.
pub const SIDE: u32 = 64;

/// Share of objects that are unusual in their theme.
const STRAY: f32 = 0.15;

/// The largest share of an object's box that another may cover.
const MAX_OVERLAP: f32 = 0.15;

/// A data split; the same index in two splits is two different scenes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// For fine-tuning.
    Train,
    /// Held out, for scoring.
    Test,
    /// For training the small CLIP that fine-tuning starts from.
    Pretrain,
}

impl Split {
    /// The split's name in keys and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
            Self::Pretrain => "pretrain",
        }
    }
}

/// A box in pixels, y down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Area {
    /// x of the middle.
    pub fn middle(&self) -> f32 {
        self.x + self.w / 2.0
    }

    /// y of the lower edge.
    pub fn foot(&self) -> f32 {
        self.y + self.h
    }

    /// The common area, as a share of the smaller of the two.
    pub fn overlap(&self, other: &Self) -> f32 {
        let w = (self.x + self.w).min(other.x + other.w) - self.x.max(other.x);
        let h = self.foot().min(other.foot()) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0) / (self.w * self.h).min(other.w * other.h)
    }
}

/// One object of a scene.
pub struct Object {
    /// What it is.
    pub thing: &'static Thing,
    /// The colour of its main part.
    pub color: Color,
    /// Where it is.
    pub area: Area,
    /// The index of the object that it stands on.
    pub on: Option<usize>,
}

/// Everything that is known about one picture.
pub struct Scene {
    /// The arguments that determine the scene.
    pub id: (u64, Split, u64),
    /// Its setting.
    pub theme: &'static Theme,
    /// Two to five, no kind twice.
    pub objects: Vec<Object>,
    /// Three to five, each true of the picture and naming some of what is shown.
    pub captions: Vec<String>,
}

/// The ground truth that is stored beside a picture. It is complete: a kind that is
/// not among `objects` is absent.
#[derive(Serialize)]
struct Truth<'a> {
    key: String,
    background: &'a str,
    objects: Vec<ObjectTruth<'a>>,
}

#[derive(Serialize)]
struct ObjectTruth<'a> {
    kind: &'a str,
    color: &'a str,
    /// Left, top, right, bottom, in pixels.
    #[serde(rename = "box")]
    area: [i32; 4],
}

impl Scene {
    /// Scene `index` of a split: a pure function of its arguments.
    pub fn new(seed: u64, split: Split, index: u64) -> Self {
        let mut dice = Dice::new(seed, split as u64, index, Purpose::Layout);
        let theme = dice.pick(THEMES);
        let objects = arrange(theme, &mut dice);
        let mut scene = Self { id: (seed, split, index), theme, objects, captions: Vec::new() };
        scene.captions = caption::captions(&scene, &mut scene.dice(Purpose::Captions));
        scene
    }

    pub(crate) fn dice(&self, purpose: Purpose) -> Dice {
        let (seed, split, index) = self.id;
        Dice::new(seed, split as u64, index, purpose)
    }

    /// The sample's name in its shard: split and index.
    pub fn key(&self) -> String {
        let (_, split, index) = self.id;
        format!("{}-{index:06}", split.name())
    }

    /// True if a thing of this name is in the picture.
    pub fn shows(&self, name: &str) -> bool {
        self.objects.iter().any(|object| object.thing.name == name)
    }

    /// The names of the things in the picture.
    pub fn present(&self) -> impl Iterator<Item = &'static str> {
        self.objects.iter().map(|object| object.thing.name)
    }

    /// The names of all other kinds.
    pub fn absent(&self) -> impl Iterator<Item = &'static str> {
        things().map(|thing| thing.name).filter(|name| !self.shows(name))
    }

    /// The ground truth as one line of JSON.
    ///
    /// # Errors
    /// Never in practice: the record has no map and no float.
    pub fn truth_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&Truth {
            key: self.key(),
            background: self.theme.name,
            objects: self
                .objects
                .iter()
                .map(|object| ObjectTruth {
                    kind: object.thing.name,
                    color: object.color.name(),
                    area: [object.area.x, object.area.y, object.area.x + object.area.w, object.area.foot()]
                        .map(|edge| edge.round() as i32),
                })
                .collect(),
        })
    }
}

/// Draws the objects of a scene of this theme and finds a place for each.
fn arrange(theme: &Theme, dice: &mut Dice) -> Vec<Object> {
    let count = 2 + dice.weighted(&[0.1, 0.35, 0.35, 0.2]).unwrap_or(0);
    let mut objects: Vec<Object> = Vec::new();
    // An object without room is dropped and another is drawn. The bound ends a
    // crowded scene early; two small things always find room.
    for attempt in 0.. {
        if objects.len() == count || (attempt > 4 * count && objects.len() >= 2) {
            break;
        }
        let thing = choose(theme, dice);
        if objects.iter().any(|object| object.thing.name == thing.name) {
            continue;
        }
        let color = *dice.pick(thing.colors);
        if let Some((area, on)) = place(thing, theme, count, &objects, dice) {
            objects.push(Object { thing, color, area, on });
        }
    }
    objects
}

/// A thing that is usual here, or occasionally any other.
fn choose(theme: &Theme, dice: &mut Dice) -> &'static Thing {
    let all: Vec<_> = things().collect();
    if dice.chance(STRAY) {
        // The sun and the moon appear only in their own themes.
        let stray: Vec<_> = all.into_iter().filter(|thing| !matches!(thing.name, "sun" | "moon")).collect();
        return dice.pick::<&Thing>(&stray);
    }
    // The first of a theme is about three times as likely as the last.
    let weights: Vec<f32> = (0..theme.usual.len()).map(|rank| 1.5 - rank as f32 / theme.usual.len() as f32).collect();
    let rank = dice.weighted(&weights).unwrap_or(0);
    thing(theme.usual[rank]).unwrap_or(all[0])
}

/// A place where a thing hides nothing: on top of another, or on a free spot in
/// the air or on the ground.
fn place(
    thing: &Thing,
    theme: &Theme,
    count: usize,
    objects: &[Object],
    dice: &mut Dice,
) -> Option<(Area, Option<usize>)> {
    let (w, h) = thing.size;
    let unit = (w * h).sqrt();
    let side = match count {
        2 | 3 => dice.between(22.0, 30.0),
        4 => dice.between(20.0, 26.0),
        _ => dice.between(18.0, 23.0),
    };
    if thing.place == Place::GroundOrTop && dice.chance(0.7) {
        let tops = objects.iter().enumerate().filter_map(|(i, o)| Some((i, o, o.thing.top?)));
        for (support, under, top) in tops {
            if objects.iter().any(|object| object.on == Some(support)) {
                continue;
            }
            let scale = side.clamp(16.0, 20.0) / unit;
            let top = under.area.y + top * under.area.h / under.thing.size.1;
            let slack = (under.area.w - scale * w).max(0.0) / 2.0;
            let middle = under.area.middle() + dice.between(-slack, slack);
            let area = Area { x: middle - scale * w / 2.0, y: top - scale * h + 0.5, w: scale * w, h: scale * h };
            if fits(&area, objects, Some(support)) {
                return Some((area, Some(support)));
            }
        }
    }
    let horizon = theme.backdrop.horizon * SIDE as f32;
    for shrink in [1.0, 0.9, 0.8] {
        let scale = shrink * side / unit;
        let (w, h) = (scale * w, scale * h);
        for _ in 0..20 {
            let x = dice.between(1.0, SIDE as f32 - 1.0 - w);
            let y = match thing.place {
                Place::Air => dice.between(1.0, (horizon + 6.0 - h).max(2.0)),
                _ => dice.between((horizon + 8.0).max(h + 1.0), SIDE as f32 - 1.0) - h,
            };
            let area = Area { x, y, w, h };
            if fits(&area, objects, None) {
                return Some((area, None));
            }
        }
    }
    None
}

/// True if the area is inside the picture and covers no other object (except the one it stands on).
fn fits(area: &Area, objects: &[Object], on: Option<usize>) -> bool {
    let side = SIDE as f32;
    area.x >= 0.0
        && area.y >= 0.0
        && area.x + area.w <= side
        && area.foot() <= side
        && objects.iter().enumerate().all(|(i, object)| on == Some(i) || area.overlap(&object.area) <= MAX_OVERLAP)
}
