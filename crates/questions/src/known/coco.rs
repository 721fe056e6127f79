//! COCO's annotations (arXiv 1405.0312).

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::{Known, KnownError, Listed, json};

#[derive(Deserialize)]
struct Instances {
    images: Vec<Image>,
    annotations: Vec<Instance>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
}

#[derive(Deserialize)]
struct Instance {
    image_id: i64,
    category_id: i64,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Captions {
    annotations: Vec<Caption>,
}

#[derive(Deserialize)]
struct Caption {
    image_id: i64,
    caption: String,
}

impl Known {
    /// From COCO's `instances_*.json`: categories without an annotation are absent. Captions of
    /// the same images may come from `captions_*.json`. What fewer than `least` images show is not
    /// denied of any.
    ///
    /// # Errors
    /// Files of another layout, and references to an image or category that the file does not list.
    pub fn from_coco(instances: &Path, captions: Option<&Path>, least: u32) -> Result<Self, KnownError> {
        let file: Instances = json(instances, "COCO's instances (images, annotations, categories)")?;
        let wrong = |message: String| KnownError::Json { path: instances.to_owned(), message };
        let names: HashMap<i64, &str> = file.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
        let place: HashMap<i64, usize> = file.images.iter().enumerate().map(|(i, image)| (image.id, i)).collect();
        let mut listed: Vec<Listed> =
            file.images.iter().map(|image| Listed { image: image.file_name.clone(), ..Listed::default() }).collect();
        for (i, Instance { image_id, category_id }) in file.annotations.iter().enumerate() {
            let image = place
                .get(image_id)
                .ok_or_else(|| wrong(format!("annotation {i} is of image {image_id}, which is not listed")))?;
            let name = names
                .get(category_id)
                .ok_or_else(|| wrong(format!("annotation {i} is of category {category_id}, which is not listed")))?;
            listed[*image].present.push((*name).to_owned());
        }
        if let Some(path) = captions {
            let file: Captions = json(path, "COCO's captions (annotations with image_id and caption)")?;
            for annotation in file.annotations {
                if let Some(image) = place.get(&annotation.image_id) {
                    listed[*image].captions.push(annotation.caption.trim().to_owned());
                }
            }
        }
        let names: Vec<String> = file.categories.iter().map(|c| c.name.clone()).collect();
        Self::from_listed(listed, &names, least)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{names, written};
    use super::*;

    const COCO: &str = r#"{"images":[{"id":7,"file_name":"a.jpg"},{"id":9,"file_name":"b.jpg"}],
        "annotations":[{"image_id":7,"category_id":1},{"image_id":7,"category_id":1},{"image_id":7,"category_id":3},
                       {"image_id":9,"category_id":2}],
        "categories":[{"id":1,"name":"person"},{"id":2,"name":"hot dog"},{"id":3,"name":"dog"}]}"#;

    #[test]
    fn categories_without_an_annotation_are_absent() {
        let (_dir, path) = written("instances.json", COCO);
        let known = Known::from_coco(&path, None, 1).unwrap();
        assert_eq!(names(&known, &known.pictures[0].present), ["person", "dog"]);
        assert_eq!(names(&known, &known.pictures[0].absent), ["hot dog"]);
        assert_eq!(known.count, [1, 1, 1]);
        assert_eq!(known.plausible(&known.pictures[0], 2), 1.0);
        let captions = r#"{"annotations":[{"image_id":9,"caption":" A hot dog "},{"image_id":1,"caption":"x"}]}"#;
        let (_other, captions) = written("captions.json", captions);
        let known = Known::from_coco(&path, Some(&captions), 1).unwrap();
        assert_eq!((known.pictures[0].captions.len(), &known.pictures[1].captions[0][..]), (0, "A hot dog"));
    }

    #[test]
    fn faults_are_named() {
        let said = |text: &str| {
            let (_dir, path) = written("c.json", text);
            Known::from_coco(&path, None, 1).unwrap_err().to_string()
        };
        assert!(
            said(&COCO.replace("\"category_id\":2", "\"category_id\":5")).contains("annotation 3 is of category 5")
        );
        assert!(said(&COCO.replace("\"image_id\":9", "\"image_id\":5")).contains("annotation 3 is of image 5"));
        assert!(said("[]").contains("not COCO's instances"));
    }
}
