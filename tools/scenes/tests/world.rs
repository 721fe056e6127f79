//! What the rest of the project relies on: scenes that never change, captions that
//! affirm, and a ground truth that agrees with the drawing.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;

use scenes::{SIDE, Scene, Split, THEMES, Thing, things};

fn sample() -> impl Iterator<Item = Scene> {
    (0..3000).map(|index| Scene::new(5, Split::Pretrain, index))
}

#[test]
fn a_scene_is_a_pure_function_of_its_numbers() {
    let bytes = |seed, split, index| Scene::new(seed, split, index).jpeg().unwrap();
    let one = bytes(1, Split::Train, 7);
    assert_eq!(one, bytes(1, Split::Train, 7));
    assert_ne!(one, bytes(2, Split::Train, 7));
    assert_ne!(one, bytes(1, Split::Test, 7));
    assert_ne!(one, bytes(1, Split::Train, 8));
}

#[test]
fn shards_have_the_same_bytes_every_time() {
    let (a, b) = (std::env::temp_dir().join("scenes-pack-a"), std::env::temp_dir().join("scenes-pack-b"));
    let first = scenes::pack(&a, 3, Split::Test, 5, 2).unwrap();
    let again = scenes::pack(&b, 3, Split::Test, 5, 2).unwrap();
    assert_eq!(first.len(), 3);
    for (a, b) in first.iter().zip(&again) {
        assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap());
    }
    let mut tar = tar::Archive::new(fs::File::open(&first[2]).unwrap());
    let names: Vec<_> =
        tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect();
    assert_eq!(names, ["test-000004.jpg", "test-000004.txt", "test-000004.json"]);
    fs::remove_dir_all(a).unwrap();
    fs::remove_dir_all(b).unwrap();
}

#[test]
fn the_truth_is_whole_and_of_the_drawing() {
    for scene in sample() {
        assert!((2..=5).contains(&scene.objects.len()));
        let present: Vec<_> = scene.present().collect();
        assert_eq!(present.len() + scene.absent().count(), things().count());
        assert!(scene.absent().all(|name| !present.contains(&name)));
        let truth: serde_json::Value = serde_json::from_str(&scene.truth_json().unwrap()).unwrap();
        let kinds: Vec<_> = truth["objects"].as_array().unwrap().iter().map(|o| o["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, present);
        for object in &scene.objects {
            let area = object.area;
            assert!(area.x >= 0.0 && area.y >= 0.0 && area.foot() <= SIDE as f32);
            assert!(area.x + area.w <= SIDE as f32 && area.w * area.h > 120.0, "too small to see");
        }
    }
}

/// The picture differs from the one without an object at the place of that object.
#[test]
fn every_object_is_drawn_and_seen() {
    for mut scene in sample().take(300) {
        let all = scene.pixels();
        for last in (1..scene.objects.len()).rev() {
            let object = scene.objects.remove(last);
            let without = scene.pixels();
            let changed = all
                .chunks_exact(3)
                .zip(without.chunks_exact(3))
                .filter(|(a, b)| a.iter().zip(*b).any(|(a, b)| a.abs_diff(*b) > 24))
                .count();
            assert!(changed > 40, "{}: a {} changes {changed} pixels", scene.key(), object.thing.name);
            scene.objects.insert(last, object);
        }
    }
}

#[test]
fn captions_affirm_and_leave_something_out() {
    let negations = [
        "no", "not", "without", "none", "never", "nothing", "nobody", "neither", "nor", "absent", "missing", "lacks",
        "lacking", "cannot", "free", "empty", "except", "but",
    ];
    let mut different = std::collections::BTreeSet::new();
    for scene in sample() {
        assert!((3..=5).contains(&scene.captions.len()), "{:?}", scene.captions);
        for caption in &scene.captions {
            let lower = caption.to_lowercase();
            let words: Vec<_> = lower.split([' ', ',']).collect();
            assert!(!words.iter().any(|word| negations.contains(word) || word.contains('\'')), "{caption}");
            let named: Vec<_> = things().map(|t: &Thing| t.name).filter(|name| words.contains(name)).collect();
            assert!(!named.is_empty(), "{caption}");
            assert!(named.iter().all(|name| scene.shows(name)), "{caption}");
            assert!(named.len() < scene.objects.len(), "{caption}");
            different.insert(lower);
        }
    }
    assert!(different.len() > 5000, "{} different captions", different.len());
}

#[test]
fn every_kind_is_common_enough_and_themes_have_their_own() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut snowmen = [0, 0];
    for scene in sample() {
        for name in scene.present() {
            *counts.entry(name).or_default() += 1;
        }
        if scene.shows("snowman") {
            snowmen[usize::from(scene.theme.name == "snow")] += 1;
        }
    }
    for thing in things() {
        let count = counts.get(thing.name).copied().unwrap_or(0);
        assert!((40..700).contains(&count), "{}: {count} of 3000", thing.name);
    }
    assert!(snowmen[1] > snowmen[0]);
}

#[test]
fn names_are_one_word_and_known() {
    let names: Vec<_> = things().map(|thing| thing.name).collect();
    assert!(names.len() >= 40);
    for (i, name) in names.iter().enumerate() {
        assert!(name.chars().all(|c| c.is_ascii_lowercase()));
        assert!(!names[..i].contains(name));
    }
    for theme in THEMES {
        for name in theme.usual {
            assert!(names.contains(name), "{} in {}", name, theme.name);
        }
    }
}
