// Pair search: for every row, finds the KEEP rows of other groups with the
// largest dot products. A tiled matrix product keeps a running list of the best;
// the matrix of all scores is never stored.
//
// The host puts `const KEEP: u32 = ...;` before this text, because a list in
// registers needs its length when the shader is compiled.
//
//   search  one workgroup multiplies 64 rows by one 64-column tile after
//           another. Each tile of 64 x 64 scores goes to workgroup memory,
//           where four scanners per row read 16 columns each into their own list.
//   merge   one invocation per row joins the lists of all its scanners.
//
// Every sum and every scan runs in a fixed order, so that the lists depend only
// on the input and the device.

struct Shape {
    rows: u32,
    // Length of a feature in vec4 (the host pads with zeros).
    quads: u32,
    // Number of workgroups per row tile, which share the columns.
    splits: u32,
    tiles_per_split: u32,
}

struct Entry {
    score: f32,
    column: u32,
}

const EMPTY = Entry(-3.0e38, 0xffffffffu);

// Rows and columns of a tile.
const SIDE = 64u;
// Number of vec4 of a feature that are in workgroup memory at a time.
const DEPTH = 4u;
// DEPTH + 1: neighbouring columns then start in different memory banks.
const STRIDE = 5u;
const SCANNERS = 4u;
const SCANNED = SIDE / SCANNERS;

@group(0) @binding(0) var<uniform> shape: Shape;
// [rows, quads]
@group(0) @binding(1) var<storage, read> features: array<vec4<f32>>;
// [rows]; rows with the same number are never neighbours
@group(0) @binding(2) var<storage, read> groups: array<u32>;
// [rows, splits, SCANNERS, KEEP]
@group(0) @binding(3) var<storage, read_write> lists: array<Entry>;
// [rows, KEEP], largest score first, the rest EMPTY
@group(0) @binding(4) var<storage, read_write> merged: array<Entry>;

// 16 KiB, the WebGPU minimum, used in turn for two things:
// features, [2, SIDE, STRIDE]: a slice of the row tile, then of the column tile;
// scores, [column, row / 4], four rows in a vec4.
var<workgroup> tile: array<vec4<f32>, 1024>;

fn feature(row: u32, quad: u32) -> vec4<f32> {
    if row < shape.rows && quad < shape.quads {
        return features[row * shape.quads + quad];
    }
    return vec4<f32>(0.0);
}

// Keeps the list sorted and drops the last entry. Among equal scores the one that
// came first stays in front.
fn insert(list: ptr<function, array<Entry, KEEP>>, entry: Entry) {
    var carried = entry;
    for (var n = 0u; n < KEEP; n++) {
        let held = (*list)[n];
        if carried.score > held.score {
            (*list)[n] = carried;
            carried = held;
        }
    }
}

@compute @workgroup_size(16, 16)
fn search(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = workgroup.x * SIDE;
    let split = workgroup.y;
    let tiles = (shape.rows + SIDE - 1u) / SIDE;
    let first_tile = split * shape.tiles_per_split;
    let end_tile = min(first_tile + shape.tiles_per_split, tiles);

    // As a scanner, this invocation reads one row and a quarter of the columns.
    let scan_row = thread % SIDE;
    let scanner = thread / SIDE;
    let row = first_row + scan_row;
    let in_range = row < shape.rows;
    var group = 0u;
    if in_range {
        group = groups[row];
    }
    var list: array<Entry, KEEP>;
    for (var n = 0u; n < KEEP; n++) {
        list[n] = EMPTY;
    }

    for (var column_tile = first_tile; column_tile < end_tile; column_tile++) {
        let first_column = column_tile * SIDE;

        // As a multiplier it owns rows 4 y .. 4 y + 3 and columns x, x + 16,
        // x + 32, x + 48 of the tile.
        var sums: array<vec4<f32>, 4>;
        for (var n = 0u; n < 4u; n++) {
            sums[n] = vec4<f32>(0.0);
        }
        for (var quad = 0u; quad < shape.quads; quad += DEPTH) {
            let load = thread / DEPTH;
            let depth = thread % DEPTH;
            tile[load * STRIDE + depth] = feature(first_row + load, quad + depth);
            tile[(SIDE + load) * STRIDE + depth] = feature(first_column + load, quad + depth);
            workgroupBarrier();
            for (var d = 0u; d < DEPTH; d++) {
                let a = local.y * 4u * STRIDE + d;
                let a0 = tile[a];
                let a1 = tile[a + STRIDE];
                let a2 = tile[a + 2u * STRIDE];
                let a3 = tile[a + 3u * STRIDE];
                let b = (SIDE + local.x) * STRIDE + d;
                let b0 = tile[b];
                let b1 = tile[b + 16u * STRIDE];
                let b2 = tile[b + 32u * STRIDE];
                let b3 = tile[b + 48u * STRIDE];
                sums[0] += vec4<f32>(dot(a0, b0), dot(a1, b0), dot(a2, b0), dot(a3, b0));
                sums[1] += vec4<f32>(dot(a0, b1), dot(a1, b1), dot(a2, b1), dot(a3, b1));
                sums[2] += vec4<f32>(dot(a0, b2), dot(a1, b2), dot(a2, b2), dot(a3, b2));
                sums[3] += vec4<f32>(dot(a0, b3), dot(a1, b3), dot(a2, b3), dot(a3, b3));
            }
            workgroupBarrier();
        }
        for (var n = 0u; n < 4u; n++) {
            tile[(local.x + 16u * n) * (SIDE / 4u) + local.y] = sums[n];
        }
        workgroupBarrier();

        for (var n = 0u; n < SCANNED; n++) {
            let c = scanner * SCANNED + n;
            let column = first_column + c;
            let score = tile[c * (SIDE / 4u) + scan_row / 4u][scan_row % 4u];
            if in_range && column < shape.rows && score > list[KEEP - 1u].score {
                // A row's own group holds the row itself.
                if groups[column] != group {
                    insert(&list, Entry(score, column));
                }
            }
        }
        workgroupBarrier();
    }

    if in_range {
        let start = ((row * shape.splits + split) * SCANNERS + scanner) * KEEP;
        for (var n = 0u; n < KEEP; n++) {
            lists[start + n] = list[n];
        }
    }
}

@compute @workgroup_size(64)
fn merge(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let row = invocation.x;
    if row >= shape.rows {
        return;
    }
    var list: array<Entry, KEEP>;
    for (var n = 0u; n < KEEP; n++) {
        list[n] = EMPTY;
    }
    let per_row = shape.splits * SCANNERS;
    for (var l = 0u; l < per_row; l++) {
        let start = (row * per_row + l) * KEEP;
        for (var n = 0u; n < KEEP; n++) {
            let entry = lists[start + n];
            // The list is sorted, so no later entry can be larger.
            if entry.score <= list[KEEP - 1u].score {
                break;
            }
            insert(&list, entry);
        }
    }
    for (var n = 0u; n < KEEP; n++) {
        merged[row * KEEP + n] = list[n];
    }
}
