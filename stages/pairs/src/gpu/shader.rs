//! The compute shader `shaders/pair_search.wgsl`: what the host must know of it.

use crate::rank::Features;

const SHADER: &str = include_str!("../../../../shaders/pair_search.wgsl");

/// Rows and columns of a tile.
pub(super) const SIDE: u32 = constant("const SIDE = ");
/// Invocations that scan a row of a tile, each into a list of its own.
pub(super) const SCANNERS: u32 = constant("const SCANNERS = ");

/// The number after `name` in the shader's text. The program does not compile if it is not there.
const fn constant(name: &str) -> u32 {
    let (text, name) = (SHADER.as_bytes(), name.as_bytes());
    let mut at = 0;
    loop {
        assert!(at + name.len() < text.len(), "the shader has no such constant");
        let mut same = 0;
        while same < name.len() && text[at + same] == name[same] {
            same += 1;
        }
        if same == name.len() {
            break;
        }
        at += 1;
    }
    let (mut at, mut value) = (at + name.len(), 0);
    assert!(text[at].is_ascii_digit());
    while text[at].is_ascii_digit() {
        value = value * 10 + (text[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// Columns are split until there are about this many workgroups, enough to
/// fill a large GPU. A constant, not a property of the device.
const WORKGROUPS: u32 = 512;

/// A candidate as the shader writes it.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Entry {
    pub score: f32,
    pub column: u32,
}

/// The shader's `Shape`.
#[repr(C)]
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
pub(super) struct Shape {
    pub rows: u32,
    pub quads: u32,
    pub splits: u32,
    pub tiles_per_split: u32,
}

impl Shape {
    pub fn of(features: &Features<'_>) -> Self {
        let rows = features.rows() as u32;
        let tiles = rows.div_ceil(SIDE);
        let tiles_per_split = tiles.div_ceil((WORKGROUPS / tiles).clamp(1, tiles));
        Self { rows, quads: features.dim.div_ceil(4) as u32, splits: tiles.div_ceil(tiles_per_split), tiles_per_split }
    }
}

/// What the two entry points of the shader are bound to: shape, features, groups, lists, merged.
pub(super) fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("pair search"),
        entries: &[
            binding(0, wgpu::BufferBindingType::Uniform),
            binding(1, wgpu::BufferBindingType::Storage { read_only: true }),
            binding(2, wgpu::BufferBindingType::Storage { read_only: true }),
            binding(3, wgpu::BufferBindingType::Storage { read_only: false }),
            binding(4, wgpu::BufferBindingType::Storage { read_only: false }),
        ],
    })
}

fn binding(binding: u32, ty: wgpu::BufferBindingType) -> wgpu::BindGroupLayoutEntry {
    wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
        count: None,
    }
}

/// The shader, compiled for lists of one length.
pub(super) struct Pipelines {
    pub search: wgpu::ComputePipeline,
    pub merge: wgpu::ComputePipeline,
}

impl Pipelines {
    pub fn new(device: &wgpu::Device, layout: &wgpu::BindGroupLayout, keep: usize) -> Self {
        let text = format!("const KEEP: u32 = {keep}u;\n{SHADER}");
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: Some("pair_search.wgsl"),
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some("pair search"),
            bind_group_layouts: &[Some(layout)],
            immediate_size: 0,
        });
        let pipeline = |entry_point| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&layout),
                module: &module,
                entry_point: Some(entry_point),
                compilation_options: Default::default(),
                cache: None,
            })
        };
        Self { search: pipeline("search"), merge: pipeline("merge") }
    }
}
