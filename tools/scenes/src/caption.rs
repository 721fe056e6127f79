//! Captions: affirmative, true, and never complete. As in captions that people
//! write, what a caption omits may still be in the picture.

use crate::dice::Dice;
use crate::scene::{Object, Scene};
use crate::words::{capitalised, with_article};

/// How a caption may begin; `{}` is what it names.
const ALONE: &[&str] = &[
    "{}",
    "{}",
    "a picture of {}",
    "a drawing of {}",
    "a photo of {}",
    "this is {}",
    "there is {}",
    "here is {}",
    "we see {}",
    "a scene with {}",
    "the image shows {}",
];

/// Three to five different captions of a scene.
pub(crate) fn captions(scene: &Scene, dice: &mut Dice) -> Vec<String> {
    let wanted = 3 + dice.weighted(&[0.3, 0.45, 0.25]).unwrap_or(0);
    let mut captions: Vec<String> = Vec::with_capacity(wanted);
    // Even one object has more than twenty captions, so this ends long before the bound.
    for _ in 0..200 {
        if captions.len() == wanted {
            break;
        }
        let caption = caption(scene, dice);
        if !captions.contains(&caption) {
            captions.push(caption);
        }
    }
    captions
}

/// One caption. It names at least one object and omits at least one.
fn caption(scene: &Scene, dice: &mut Dice) -> String {
    let mut objects: Vec<usize> = (0..scene.objects.len()).collect();
    dice.shuffle(&mut objects);
    let most = (objects.len() - 1).min(3);
    let named = 1 + dice.weighted(&[0.35, 0.4, 0.25][..most]).unwrap_or(0);
    let objects: Vec<&Object> = objects[..named].iter().map(|&i| &scene.objects[i]).collect();
    let place = if dice.chance(0.5) { format!(" {}", dice.pick(scene.theme.wheres)) } else { String::new() };

    let words = match *objects.as_slice() {
        [a, b] => {
            let relation = relation(scene, a, b).filter(|_| dice.chance(0.6));
            match relation {
                Some(relation) => {
                    let doing = doing(a, 0.35, dice);
                    format!("{}{doing} {} {}", phrase(a, dice), dice.pick(relation), phrase(b, dice))
                }
                None => {
                    let link = dice.pick(&["and", "and", "with"]);
                    format!("{} {link} {}{place}", phrase(a, dice), phrase(b, dice))
                }
            }
        }
        [a, b, c] => {
            let relation = relation(scene, a, b).filter(|_| dice.chance(0.4));
            let (one, two, three) = (phrase(a, dice), phrase(b, dice), phrase(c, dice));
            match relation {
                Some(relation) => format!("{one} {} {two}, and {three}", dice.pick(relation)),
                None => format!("{one}, {two} and {three}{place}"),
            }
        }
        _ => {
            let a = objects[0];
            let doing = if place.is_empty() { String::new() } else { doing(a, 0.6, dice) };
            format!("{}{doing}{place}", phrase(a, dice))
        }
    };
    capitalised(&dice.pick(ALONE).replace("{}", &words))
}

/// "a red ball" or "a ball".
fn phrase(object: &Object, dice: &mut Dice) -> String {
    let name = object.thing.name;
    if dice.chance(0.5) { with_article(&format!("{} {name}", object.color.name())) } else { with_article(name) }
}

/// " sitting", or nothing.
fn doing(object: &Object, often: f32, dice: &mut Dice) -> String {
    if dice.chance(often) { format!(" {}", object.thing.doing) } else { String::new() }
}

/// Ways to say how `a` is placed relative to `b`, if the picture shows it clearly.
pub(crate) fn relation(scene: &Scene, a: &Object, b: &Object) -> Option<&'static [&'static str]> {
    let is = |x: &Object, index: usize| std::ptr::eq(x, &raw const scene.objects[index]);
    let (left, right) = (a.area.middle(), b.area.middle());
    let apart = (left - right).abs();
    if a.on.is_some_and(|support| is(b, support)) {
        Some(&["on", "on top of"])
    } else if b.on.is_some_and(|support| is(a, support)) {
        Some(&["under", "below"])
    } else if a.area.foot() < b.area.y + 2.0 && apart < 24.0 {
        Some(&["above", "over"])
    } else if b.area.foot() < a.area.y + 2.0 && apart < 24.0 {
        Some(&["below", "under"])
    } else if (a.area.foot() - b.area.foot()).abs() < 10.0 && apart < 30.0 {
        Some(&["beside", "next to", "near"])
    } else if left + 12.0 < right {
        Some(&["to the left of"])
    } else if right + 12.0 < left {
        Some(&["to the right of"])
    } else {
        None
    }
}
