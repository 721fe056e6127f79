//! Weights of an ONNX model in files beside it ("external data"), as `torch.onnx.export` writes them since
//! PyTorch 2.9, and any exporter a model of more than 2 GiB.
//!
//! tract reads such files too, but not through links that lead out of the folder, as those of the hub's cache do.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};
use tract_onnx::prelude::*;

use super::EncodeError;

/// Reads a model with all its weights, wherever they are.
///
/// # Errors
/// A file that is missing or cannot be read, or that is shorter than the model says.
pub(super) fn read(path: &Path) -> Result<ModelProto, EncodeError> {
    let mut model = parse(path)?;
    for tensor in tensors(&mut model) {
        if let Some(part) = Part::of(tensor).map_err(|message| onnx(path, message))? {
            tensor.raw_data = part.read(path)?;
            tensor.external_data.clear();
            tensor.data_location = None;
        }
    }
    Ok(model)
}

/// The names of the files beside the model that hold weights.
///
/// # Errors
/// A file that cannot be read, or is no such model.
pub(super) fn files(path: &Path) -> Result<BTreeSet<String>, EncodeError> {
    let mut model = parse(path)?;
    let parts = tensors(&mut model).into_iter().filter_map(|tensor| Part::of(tensor).transpose());
    parts.map(|part| part.map(|part| part.file).map_err(|message| onnx(path, message))).collect()
}

fn parse(path: &Path) -> Result<ModelProto, EncodeError> {
    let bytes = std::fs::read(path).map_err(|source| EncodeError::Read { path: path.to_owned(), source })?;
    tract_onnx::onnx().proto_model_for_read(&mut &bytes[..]).map_err(|error| onnx(path, format!("{error:#}")))
}

fn onnx(path: &Path, message: String) -> EncodeError {
    EncodeError::Onnx { path: path.to_owned(), message }
}

/// Where the bytes of a tensor are.
struct Part {
    /// The tensor, for messages.
    tensor: String,
    /// Relative to the folder of the model.
    file: String,
    /// In bytes.
    offset: u64,
    /// In bytes; `None` for the rest of the file.
    length: Option<u64>,
}

impl Part {
    /// `None` for a tensor whose bytes are in the model itself.
    fn of(tensor: &TensorProto) -> Result<Option<Self>, String> {
        if tensor.data_location != Some(DataLocation::External as i32) {
            return Ok(None);
        }
        let name = &tensor.name;
        let entry = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
        let number = |key: &str| {
            let number = entry(key).map(|value| value.parse::<u64>().map_err(|_| (key.to_owned(), value.clone())));
            number
                .transpose()
                .map_err(|(key, value)| format!("the {key} of the tensor `{name}` is `{value}`, no number"))
        };
        let file =
            entry("location").ok_or_else(|| format!("the tensor `{name}` is in another file, but not in which"))?;
        // A model from anywhere must not make this program read other files.
        let is_below = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !Path::new(file).components().all(is_below) {
            return Err(format!("the tensor `{name}` is in `{file}`, which is not in the folder of the model"));
        }
        Ok(Some(Self {
            tensor: name.clone(),
            file: file.clone(),
            offset: number("offset")?.unwrap_or(0),
            length: number("length")?,
        }))
    }

    fn read(&self, model: &Path) -> Result<Vec<u8>, EncodeError> {
        let Self { tensor, file, offset, length } = self;
        let path = model.with_file_name(file);
        let fault = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound => onnx(
                model,
                format!("its weights are in `{file}` beside it, which is missing; copy that file to the same folder"),
            ),
            _ => EncodeError::Read { path: path.clone(), source },
        };
        let mut data = File::open(&path).map_err(fault)?;
        let size = data.metadata().map_err(fault)?.len();
        let wanted = length.or_else(|| size.checked_sub(*offset));
        // Checked before anything is allocated.
        let Some(wanted) = wanted.filter(|wanted| offset.checked_add(*wanted).is_some_and(|end| end <= size)) else {
            return Err(onnx(
                model,
                format!(
                    "the tensor `{tensor}` is in `{file}` from byte {offset} on, but that file has {size} bytes; the two \
                     files are not of one model, or the copy is not complete"
                ),
            ));
        };
        data.seek(SeekFrom::Start(*offset)).map_err(fault)?;
        let mut bytes = vec![0; wanted as usize];
        data.read_exact(&mut bytes).map_err(fault)?;
        Ok(bytes)
    }
}

/// All tensors of a model, those of its subgraphs and functions too.
fn tensors(model: &mut ModelProto) -> Vec<&mut TensorProto> {
    let mut all = Vec::new();
    if let Some(graph) = &mut model.graph {
        of_graph(graph, &mut all);
    }
    model.functions.iter_mut().for_each(|function| of_nodes(&mut function.node, &mut all));
    all
}

fn of_graph<'a>(graph: &'a mut GraphProto, all: &mut Vec<&'a mut TensorProto>) {
    all.extend(graph.initializer.iter_mut());
    graph.sparse_initializer.iter_mut().for_each(|sparse| of_sparse(sparse, all));
    of_nodes(&mut graph.node, all);
}

fn of_nodes<'a>(nodes: &'a mut [NodeProto], all: &mut Vec<&'a mut TensorProto>) {
    for attribute in nodes.iter_mut().flat_map(|node| node.attribute.iter_mut()) {
        all.extend(attribute.t.iter_mut());
        all.extend(attribute.tensors.iter_mut());
        let sparse = attribute.sparse_tensor.iter_mut().chain(attribute.sparse_tensors.iter_mut());
        sparse.for_each(|sparse| of_sparse(sparse, all));
        attribute.g.iter_mut().chain(attribute.graphs.iter_mut()).for_each(|graph| of_graph(graph, all));
    }
}

fn of_sparse<'a>(sparse: &'a mut SparseTensorProto, all: &mut Vec<&'a mut TensorProto>) {
    all.extend(sparse.values.iter_mut().chain(sparse.indices.iter_mut()));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use prost::Message;
    use tract_onnx::pb::{
        AttributeProto, OperatorSetIdProto, StringStringEntryProto, TensorShapeProto, TypeProto, ValueInfoProto,
        tensor_shape_proto, type_proto,
    };

    use super::super::Encoder as _;
    use super::super::onnx::OnnxEncoder;
    use super::*;

    const FLOAT: i32 = 1;
    const SIDE: i64 = 2;

    fn value(name: &str, shape: &[i64]) -> ValueInfoProto {
        let dim = |size: &i64| tensor_shape_proto::Dimension {
            value: Some(tensor_shape_proto::dimension::Value::DimValue(*size)),
            ..Default::default()
        };
        let shape = Some(TensorShapeProto { dim: shape.iter().map(dim).collect() });
        let tensor = type_proto::Tensor { elem_type: FLOAT, shape };
        let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
        ValueInfoProto { name: name.into(), r#type, ..Default::default() }
    }

    fn node(op: &str, inputs: &[&str], output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(|name| (*name).into()).collect(),
            output: vec![output.into()],
            name: output.into(),
            attribute,
            ..Default::default()
        }
    }

    fn tensor(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        TensorProto { name: name.into(), dims: dims.to_vec(), data_type: FLOAT, raw_data, ..Default::default() }
    }

    /// `image_embeds` = the flattened `pixel_values` times a matrix, plus a vector that a node holds.
    fn model() -> ModelProto {
        let width = 3 * SIDE * SIDE;
        let weights: Vec<f32> = (0..width * 2).map(|i| i as f32 * 0.25 - 1.0).collect();
        let constant = AttributeProto {
            name: "value".into(),
            r#type: tract_onnx::pb::attribute_proto::AttributeType::Tensor as i32,
            t: Some(tensor("bias", &[2], &[0.5, -0.5])),
            ..Default::default()
        };
        let graph = GraphProto {
            node: vec![
                node("Flatten", &["pixel_values"], "flat", Vec::new()),
                node("MatMul", &["flat", "weights"], "product", Vec::new()),
                node("Constant", &[], "bias", vec![constant]),
                node("Add", &["product", "bias"], "image_embeds", Vec::new()),
            ],
            initializer: vec![tensor("weights", &[width, 2], &weights)],
            input: vec![value("pixel_values", &[1, 3, SIDE, SIDE])],
            output: vec![value("image_embeds", &[1, 2])],
            ..Default::default()
        };
        let opset_import = vec![OperatorSetIdProto { domain: String::new(), version: 17 }];
        ModelProto { ir_version: 8, opset_import, graph: Some(graph), ..Default::default() }
    }

    /// The same model with its weights in `file`, at offsets of 64 bytes.
    fn moved(file: &str) -> (ModelProto, Vec<u8>) {
        let (mut model, mut data) = (model(), Vec::new());
        for tensor in tensors(&mut model) {
            let bytes = std::mem::take(&mut tensor.raw_data);
            data.resize(data.len().next_multiple_of(64), 0);
            let entries = [
                ("location", file.to_owned()),
                ("offset", data.len().to_string()),
                ("length", bytes.len().to_string()),
            ];
            tensor.external_data =
                entries.map(|(key, value)| StringStringEntryProto { key: key.into(), value }).to_vec();
            tensor.data_location = Some(DataLocation::External as i32);
            data.extend(bytes);
        }
        (model, data)
    }

    fn feature(path: &Path) -> Result<Vec<f32>, String> {
        let side = SIDE as u32;
        let encoder = OnnxEncoder::open(path, clip::Preprocess::openai(side)).map_err(|error| error.to_string())?;
        let pixels = items::Pixels { rgb: (0..12).map(|i| i * 20).collect(), width: side, height: side };
        encoder.encode(&[pixels]).map_err(|error| error.to_string())
    }

    #[test]
    fn weights_beside_the_model_are_those_within_it() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("one.onnx"), model().encode_to_vec()).unwrap();
        assert!(files(&at("one.onnx")).unwrap().is_empty());
        let expected = feature(&at("one.onnx")).unwrap();
        assert!(expected.len() == 2 && expected[0] != expected[1]);

        let (two, data) = moved("two.onnx.data");
        std::fs::write(at("two.onnx"), two.encode_to_vec()).unwrap();
        let said = feature(&at("two.onnx")).unwrap_err();
        assert!(said.contains("two.onnx: its weights are in `two.onnx.data` beside it, which is missing"), "{said}");
        // As in the hub's cache: a link to a file of another folder.
        std::fs::create_dir(at("blobs")).unwrap();
        std::fs::write(at("blobs/data"), &data).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("blobs/data"), at("two.onnx.data")).unwrap();
        #[cfg(not(unix))]
        std::fs::write(at("two.onnx.data"), &data).unwrap();
        assert_eq!(files(&at("two.onnx")).unwrap().into_iter().collect::<Vec<_>>(), ["two.onnx.data"]);
        assert_eq!(feature(&at("two.onnx")).unwrap(), expected);

        std::fs::write(at("blobs/data"), &data[..data.len() - 1]).unwrap();
        std::fs::write(at("two.onnx.data"), &data[..data.len() - 1]).unwrap();
        let said = feature(&at("two.onnx")).unwrap_err();
        assert!(said.contains("the copy is not complete") && said.contains("`bias`"), "{said}");
    }

    #[test]
    fn a_model_reads_no_file_of_another_folder() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["../data", "/etc/hostname", "a/../../data"] {
            let (model, _) = moved(file);
            let path = dir.path().join("m.onnx");
            std::fs::write(&path, model.encode_to_vec()).unwrap();
            let said = feature(&path).unwrap_err();
            assert!(said.contains("not in the folder of the model"), "{said}");
        }
    }
}
