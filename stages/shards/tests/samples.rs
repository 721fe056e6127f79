//! Tars made by hand, whole and broken, to samples.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use stage_shards::{CaptionSource, Fault, RawSample, Reason, Rules, Samples};
use tar::{Builder, EntryType, Header};

/// A tar of these files, in this order, with its end marker.
fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, bytes) in files {
        append(&mut tar, path, bytes);
    }
    tar.into_inner().unwrap()
}

fn append(tar: &mut Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_size(bytes.len() as u64);
    tar.append_data(&mut header, path, bytes).unwrap();
}

struct Read {
    samples: Vec<RawSample>,
    fault: Option<String>,
    kind: Option<std::mem::Discriminant<Fault>>,
}

impl Read {
    /// `key=captions` or `key!reason`, in order.
    fn told(&self) -> Vec<String> {
        let tell = |sample: &RawSample| match &sample.content {
            Ok(content) => format!("{}={}", sample.key, content.captions.join("|")),
            Err(reason) => format!("{}!{reason}", sample.key),
        };
        self.samples.iter().map(tell).collect()
    }

    fn reason(&self, key: &str) -> Reason {
        self.samples.iter().find(|s| s.key == key).unwrap().content.clone().unwrap_err()
    }
}

fn read_with(bytes: &[u8], rules: Rules) -> Read {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut samples = Samples::new(bytes, Arc::new(rules));
        let mut all = Vec::new();
        while let Some(sample) = samples.next().await {
            assert_eq!(sample.index as usize, all.len());
            all.push(sample);
        }
        assert!(samples.next().await.is_none());
        let (count, fault) = samples.finish();
        assert_eq!(count as usize, all.len());
        let kind = fault.as_ref().map(std::mem::discriminant);
        Read { samples: all, fault: fault.map(|fault| fault.to_string()), kind }
    })
}

fn read(bytes: &[u8]) -> Read {
    read_with(bytes, Rules::default())
}

const A: &[u8] = b"picture a";

#[test]
fn a_sample_is_a_picture_and_its_captions() {
    let read = read(&pack(&[
        ("000.jpg", A),
        ("000.txt", b"a dog\n\n  a brown dog \r\n"),
        ("dir.v1/001.seg.png", b"no picture of this sample: its extension is seg.png"),
        ("dir.v1/001.PNG", b"picture b"),
        ("dir.v1/001.Txt", "\u{feff}ein Hündchen".as_bytes()),
        ("./002.txt", b"one"),
        ("./002.webp", b"w"),
    ]));
    assert_eq!(read.told(), ["000=a dog|a brown dog", "dir.v1/001=ein Hündchen", "002=one"]);
    assert_eq!(read.fault, None);
    let contents: Vec<_> = read.samples.iter().map(|s| s.content.as_ref().unwrap()).collect();
    assert_eq!((contents[0].image.as_slice(), contents[0].extension.as_str()), (A, "jpg"));
    assert_eq!((contents[1].image.as_slice(), contents[1].extension.as_str()), (b"picture b".as_slice(), "png"));
}

#[test]
fn the_first_extension_of_the_list_that_is_there_is_taken() {
    let files: [(&str, &[u8]); 4] = [("a.webp", b"w"), ("a.png", b"p"), ("a.jpg", b"j"), ("a.txt", b"x")];
    let image = |order: [&str; 2]| {
        let rules = Rules { images: order.map(str::to_owned).to_vec(), ..Rules::default() };
        read_with(&pack(&files), rules).samples[0].content.clone().unwrap().image
    };
    assert_eq!(read(&pack(&files)).samples[0].content.as_ref().unwrap().image, b"j");
    assert_eq!(image(["png", "webp"]), b"p");
    assert_eq!(image(["webp", "png"]), b"w");
}

#[test]
fn what_is_no_sample_is_passed_over() {
    let mut tar = Builder::new(Vec::new());
    let mut folder = Header::new_gnu();
    folder.set_entry_type(EntryType::Directory);
    folder.set_size(0);
    tar.append_data(&mut folder, "d.jpg/", std::io::empty()).unwrap();
    append(&mut tar, "a.jpg", A);
    append(&mut tar, "._a.txt", b"resource fork");
    append(&mut tar, "__MACOSX/a.txt", b"x");
    append(&mut tar, ".hidden/a.txt", b"x");
    append(&mut tar, "README", b"x");
    append(&mut tar, "a.txt", b"a dog");
    assert_eq!(read(&tar.into_inner().unwrap()).told(), ["a=a dog"]);
}

#[test]
fn what_cannot_be_used_is_named_with_its_reason() {
    let too_long = "x".repeat(4097);
    let read = read(&pack(&[
        ("noimage.txt", b"a"),
        ("nocaption.jpg", A),
        ("blank.jpg", A),
        ("blank.txt", b" \n\n"),
        ("empty.jpg", b""),
        ("empty.txt", b"a"),
        ("utf16.jpg", A),
        ("utf16.txt", b"\xff\xfea\0"),
        ("latin1.jpg", A),
        ("latin1.txt", b"caf\xe9"),
        ("nul.jpg", A),
        ("nul.txt", b"a\0b"),
        ("long.jpg", A),
        ("long.txt", too_long.as_bytes()),
        ("twice.jpg", A),
        ("twice.JPG", A),
        ("twice.txt", b"a"),
        ("fine.jpg", A),
        ("fine.txt", b"a"),
    ]));
    let reason = |key: &str| read.reason(key).to_string();
    assert_eq!(reason("noimage"), "no picture (looked for jpg, jpeg, png, webp; its members are .txt)");
    assert_eq!(reason("nocaption"), "no .txt with captions (its members are .jpg)");
    assert_eq!(read.reason("blank"), Reason::NoCaption("blank.txt".to_owned()));
    assert_eq!(read.reason("empty"), Reason::Empty("empty.jpg".to_owned()));
    assert_eq!(read.reason("utf16"), Reason::NotUtf8(" (but UTF-16)"));
    assert_eq!(read.reason("latin1"), Reason::NotUtf8(""));
    assert_eq!(read.reason("nul"), Reason::Nul);
    assert_eq!(read.reason("long"), Reason::CaptionTooLong { length: 4097, limit: 4096 });
    assert_eq!(read.reason("twice"), Reason::Repeated("jpg".to_owned()));
    assert_eq!(read.samples.last().unwrap().content.as_ref().unwrap().captions, ["a"]);
    assert_eq!(read.fault, None);
}

/// A name with dots has a shorter key than its author expects.
#[test]
fn names_with_dots_are_reported_by_their_extensions() {
    let read = read(&pack(&[
        ("dog.v2.0 (final).jpg", A),
        ("dog.v2.0 (final).txt", b"a dog"),
        ("cat.jpg", A),
        ("cat.crop.txt", b"a cat"),
        ("hen.a.jpg", A),
        ("hen.b.jpg", A),
        ("hen.c.jpg", A),
        ("hen.d.jpg", A),
        ("hen.e.jpg", A),
    ]));
    let reason = |key: &str| read.reason(key).to_string();
    let rule = "a key ends at the first dot of the file name";
    let dog = reason("dog");
    assert!(dog.contains("its members are .v2.0 (final).jpg, .v2.0 (final).txt; ") && dog.contains(rule), "{dog}");
    let cat = reason("cat");
    assert!(cat.starts_with("no .txt with captions (its members are .jpg, .crop.txt; ") && cat.contains(rule), "{cat}");
    assert!(reason("hen").contains(".a.jpg, .b.jpg, .c.jpg, .d.jpg, …; "), "{}", reason("hen"));
}

/// `cat a.tar b.tar`: readers of tars stop before the second one.
#[test]
fn bytes_after_the_end_marker_are_reported() {
    let (one, two) = (pack(&[("a.jpg", A), ("a.txt", b"a")]), pack(&[("b.jpg", A), ("b.txt", b"b")]));
    let filled = |mut tar: Vec<u8>, size: usize| {
        tar.resize(size, 0);
        tar
    };
    for size in [one.len(), 10_240, 100_000] {
        let read = read(&[filled(one.clone(), size), two.clone()].concat());
        assert_eq!(read.told(), ["a=a"]);
        assert_eq!(read.fault.unwrap(), Fault::Behind { end: 2048, at: size as u64 }.to_string());
    }
    // Filling is none, and a sample that lacks something is not cut.
    assert_eq!(read(&filled(one.clone(), 1 << 20)).fault, None);
    let lacks = read(&[pack(&[("a.jpg", A)]), two].concat());
    assert!(matches!(lacks.reason("a"), Reason::NoCaptionMember { .. }) && lacks.fault.is_some());
}

#[test]
fn keys_that_come_back_are_skipped_the_second_time() {
    let again =
        read(&pack(&[("a.jpg", A), ("a.txt", b"1"), ("b.jpg", A), ("b.txt", b"2"), ("a.jpg", A), ("a.txt", b"3")]));
    assert_eq!(again.told()[..2], ["a=1", "b=2"]);
    assert_eq!(again.samples[2].content, Err(Reason::Duplicate));

    let interleaved = read(&pack(&[("a.jpg", A), ("b.jpg", A), ("a.txt", b"1"), ("b.txt", b"2")]));
    let reasons: Vec<_> = interleaved.samples.iter().map(|s| s.content.clone().unwrap_err()).collect();
    assert!(reasons[..2].iter().all(|reason| matches!(reason, Reason::NoCaptionMember { wanted: "txt", .. })));
    assert_eq!(reasons[2..], [Reason::Duplicate, Reason::Duplicate]);
}

#[test]
fn a_link_in_the_place_of_a_picture_is_the_reason() {
    for kind in [EntryType::Symlink, EntryType::Link] {
        let mut tar = Builder::new(Vec::new());
        let mut link = Header::new_gnu();
        link.set_entry_type(kind);
        link.set_size(0);
        tar.append_link(&mut link, "a.jpg", "b.jpg").unwrap();
        append(&mut tar, "a.txt", b"a dog");
        let read = read(&tar.into_inner().unwrap());
        assert_eq!(read.reason("a"), Reason::Link("a.jpg".to_owned()));
    }
}

#[test]
fn large_members_are_never_read() {
    let rules = || Rules { max_member: 1024, ..Rules::default() };
    let large = vec![7; 1025];
    let files: [(&str, &[u8]); 5] =
        [("a.jpg", &large), ("a.txt", b"a"), ("b.jpg", &large[1..]), ("b.npy", &large), ("b.txt", b"b")];
    let read = read_with(&pack(&files), rules());
    assert_eq!(read.reason("a"), Reason::TooLarge { path: "a.jpg".to_owned(), size: 1025, limit: 1024 });
    assert_eq!(read.told()[1], "b=b");

    // A header that promises more than any memory holds: nothing is allocated for it.
    let mut tar = Builder::new(Vec::new());
    append(&mut tar, "a.jpg", A);
    append(&mut tar, "a.txt", b"a");
    let mut bytes = tar.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    let mut header = Header::new_gnu();
    header.set_path("b.jpg").unwrap();
    header.set_size(1 << 50);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    let read = read_with(&bytes, rules());
    assert_eq!(read.told()[0], "a=a");
    assert!(read.fault.unwrap().starts_with("truncated"));

    let text = "x\n".repeat(600_000);
    let read = self::read(&pack(&[("a.jpg", A), ("a.txt", text.as_bytes())]));
    assert!(matches!(read.reason("a"), Reason::TooLarge { limit: 1_048_576, .. }));
}

#[test]
fn long_names_of_both_dialects_are_read() {
    let long = format!("{}/{}.v1/cat", "d".repeat(150), "e".repeat(120));
    let gnu = pack(&[(&format!("{long}.jpg"), A), (&format!("{long}.txt"), b"a cat")]);
    assert_eq!(read(&gnu).told(), [format!("{long}=a cat")]);

    let mut tar = Builder::new(Vec::new());
    for (extension, bytes) in [("jpg", A), ("txt", b"a cat")] {
        let path = format!("{long}.{extension}");
        tar.append_pax_extensions([("path", path.as_bytes()), ("mtime", b"1.5".as_slice())]).unwrap();
        append(&mut tar, &format!("short.{extension}"), bytes);
    }
    assert_eq!(read(&tar.into_inner().unwrap()).told(), [format!("{long}=a cat")]);
}

#[test]
fn a_pax_size_overrides_the_header() {
    let mut tar = Builder::new(Vec::new());
    tar.append_pax_extensions([("size", b"9".as_slice())]).unwrap();
    append(&mut tar, "a.jpg", A);
    append(&mut tar, "a.txt", b"a");
    let mut bytes = tar.into_inner().unwrap();
    // The header of the picture: after the record's header and its one block. Its size says 0.
    let header = &mut bytes[1024..1536];
    assert_eq!(&header[..5], b"a.jpg");
    let mut changed = Header::from_byte_slice(header).clone();
    changed.set_size(0);
    changed.set_cksum();
    header.copy_from_slice(changed.as_bytes());
    assert_eq!(read(&bytes).samples[0].content.as_ref().unwrap().image, A);
}

#[test]
fn captions_come_from_a_field_of_json() {
    let rules = || Rules { captions: CaptionSource::Json("caption".to_owned()), ..Rules::default() };
    let read = read_with(
        &pack(&[
            ("one.jpg", A),
            ("one.json", br#"{"caption": "a dog\n on grass ", "w": 3}"#),
            ("one.txt", b"not this"),
            ("many.jpg", A),
            ("many.json", br#"{"caption": ["a", "", "b"]}"#),
            ("none.jpg", A),
            ("none.json", br#"{"text": "a"}"#),
            ("number.jpg", A),
            ("number.json", br#"{"caption": [1]}"#),
            ("broken.jpg", A),
            ("broken.json", br#"{"caption": "#),
            ("deep.jpg", A),
            ("deep.json", "[".repeat(100_000).as_bytes()),
            ("text.jpg", A),
            ("text.txt", b"a"),
        ]),
        rules(),
    );
    assert_eq!(read.told()[..2], ["one=a dog on grass", "many=a|b"]);
    assert_eq!(read.reason("none"), Reason::NoField("caption".to_owned()));
    assert_eq!(read.reason("number"), Reason::NoField("caption".to_owned()));
    assert!(matches!(read.reason("broken"), Reason::NotJson(_)));
    assert!(matches!(read.reason("deep"), Reason::NotJson(_)));
    assert!(matches!(read.reason("text"), Reason::NoCaptionMember { wanted: "json", .. }));
}

#[test]
fn a_tar_cut_anywhere_gives_what_lies_whole_before_the_cut() {
    let (picture, caption) = (vec![1; 1300], b"a dog".as_slice());
    let keys = ["a", "b", "c"];
    let names: Vec<(String, &[u8])> = keys
        .iter()
        .flat_map(|key| [(format!("{key}.jpg"), picture.as_slice()), (format!("{key}.txt"), caption)])
        .collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let whole = pack(&files);
    // Header and three blocks of picture, header and one block of caption; then the end marker.
    let sample = 512 * 4 + 512 * 2;
    let caption_ends = 512 * 4 + 512 + caption.len();
    assert_eq!(whole.len(), 3 * sample + 1024);

    let cuts = (0..=whole.len()).filter(|at| at % 512 == 0 || at % 97 == 0 || at % sample == caption_ends);
    for at in cuts {
        let read = read(&whole[..at]);
        let used = keys.iter().enumerate().filter(|(i, _)| i * sample + caption_ends <= at).map(|(_, k)| *k);
        let used: Vec<String> = used.map(|key| format!("{key}=a dog")).collect();
        let told = read.told();
        assert_eq!(told[..used.len()], used, "cut at {at}");
        // The one that is cut is named as soon as the header of its first member is whole.
        let named = keys.iter().enumerate().filter(|(i, _)| i * sample + 512 <= at).count();
        assert_eq!(told.len(), named, "cut at {at}: {told:?}");
        assert!(read.samples[used.len()..].iter().all(|s| s.content == Err(Reason::Cut)), "cut at {at}");
        match at {
            0 => assert!(read.fault.unwrap().contains("empty")),
            _ if at >= 3 * sample + 512 => assert_eq!(read.fault, None, "cut at {at}"),
            _ => assert_eq!(read.fault.unwrap(), Fault::Cut { at: at as u64 }.to_string()),
        }
    }
}

#[test]
fn what_is_no_tar_is_told_as_such() {
    let foreign = Some(std::mem::discriminant(&Fault::Foreign(String::new())));
    for (bytes, part) in [
        (b"".as_slice(), "empty"),
        (b"\x1f\x8b\x08 and more", "gunzip"),
        (b"PK\x03\x04 and more", "zip"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "Git LFS"),
        (&[b'x'; 5000], "not a tar header"),
    ] {
        let read = read(bytes);
        assert!(read.samples.is_empty());
        assert_eq!(read.kind, foreign);
        let fault = read.fault.unwrap();
        assert!(fault.starts_with("not a tar") && fault.contains(part), "{fault}");
    }
    // An empty tar is a tar.
    let read = read(&pack(&[]));
    assert!(read.samples.is_empty() && read.fault.is_none());
}

#[test]
fn a_damaged_header_ends_the_shard_where_it_is() {
    let mut bytes =
        pack(&[("a.jpg", A), ("a.txt", b"a"), ("b.jpg", A), ("b.txt", b"b"), ("c.jpg", A), ("c.txt", b"c")]);
    bytes[3 * 1024 + 10] ^= 1;
    let read = read(&bytes);
    assert_eq!(read.told()[0], "a=a");
    assert_eq!(read.samples[1].content, Err(Reason::Cut));
    assert_eq!(read.samples.len(), 2);
    assert!(read.fault.unwrap().starts_with("damaged at byte 3072"));
}

#[test]
fn any_flipped_byte_is_survived() {
    let whole = pack(&[("a.jpg", A), ("a.txt", b"a"), ("b.jpg", A), ("b.txt", b"b")]);
    for at in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] ^= flip;
            let read = read(&bytes);
            assert!(read.samples.len() <= 4, "byte {at}");
            // A header is guarded by its checksum, so damage there is never taken for data.
            if at % 1024 < 512 && at < 4096 {
                assert!(read.fault.is_some(), "byte {at}");
            }
        }
    }
}

#[test]
fn an_extended_header_without_bounds_is_damage() {
    let mut header = Header::new_gnu();
    header.set_path("long").unwrap();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let read = read(header.as_bytes());
    assert!(read.fault.unwrap().contains("extended header"));
}
