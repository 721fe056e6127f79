//! The pickle of a PyTorch state dict, read as data.
//!
//! A pickle is a program for a small stack machine, which in Python can call anything. This
//! machine has the instructions that `torch.save` writes, knows three constructors (an ordered
//! dict, a tensor, a parameter) and calls nothing: what any other callable would have made is a
//! value without content. Memory is bounded by [`MAX_VALUES`]; nothing recurses.

use std::collections::HashMap;

/// More values than the largest CLIP with its optimizer's state has, by far.
const MAX_VALUES: usize = 1 << 21;
/// PyTorch's own bound. Each tensor holds its shape twice, however often the pickle names one.
const MAX_DIMENSIONS: usize = 64;
/// Under which keys training scripts keep the weights.
const STATE_DICTS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// A value's place in the arena.
type Id = usize;

#[derive(Clone, Debug)]
enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by module and name.
    Global(&'a str, &'a str),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
    /// What a callable would have made, or a number that no tensor needs.
    Opaque(&'a str, &'a str),
}

/// A run of numbers in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    /// `torch`'s name of the type: `FloatStorage`.
    pub kind: &'a str,
    /// Its name in the file.
    pub key: &'a str,
    /// Numbers.
    pub len: usize,
}

/// A view of a storage. Offset, shape and strides are in numbers, not in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor<'a> {
    pub storage: Storage<'a>,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub stride: Vec<usize>,
}

/// What a pickle holds.
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
    /// Bytes that it took.
    pub len: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`.
    ///
    /// # Errors
    /// What is wrong, with the offset.
    pub fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut machine = Machine { bytes, ..Machine::default() };
        loop {
            let at = machine.at;
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => return Ok(Self { values: machine.values, root, len: machine.at }),
                Err(message) => return Err(format!("its pickle is damaged at byte {at}: {message}")),
            }
        }
    }

    /// The tensors of the state dict, which is the root or a dict in it.
    ///
    /// # Errors
    /// A root that is no dict; an entry that only code could make.
    pub fn tensors(&self) -> Result<Vec<(&'a str, &Tensor<'a>)>, String> {
        let root = self.dict(self.root).ok_or_else(|| {
            let what = match &self.values[self.root] {
                Value::Opaque(module, name) => format!("an object of {module}.{name}"),
                _ => "no dict of tensors".to_owned(),
            };
            format!("it holds {what}; save the model's state_dict(), not the model")
        })?;
        let inner = STATE_DICTS.iter().find_map(|key| self.dict(self.entry(root, key)?));
        let mut tensors = Vec::new();
        for (key, value) in inner.unwrap_or(root) {
            let Value::Text(name) = self.values[*key] else { continue };
            match &self.values[*value] {
                Value::Tensor(tensor) => tensors.push((name, tensor)),
                // Beside the weights, such things are a script's own notes.
                Value::Opaque(module, callable) if inner.is_some() || name.contains('.') => {
                    return Err(format!("entry {name} is made by calling {module}.{callable}, which is not done here"));
                }
                _ => {}
            }
        }
        Ok(tensors)
    }

    /// All storages that are spoken of.
    pub fn storages(&self) -> impl Iterator<Item = Storage<'a>> {
        self.values.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(*storage),
            _ => None,
        })
    }

    /// A flag in the root dict.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.values[self.entry(self.dict(self.root)?, key)?] {
            Value::Bool(flag) => Some(flag),
            _ => None,
        }
    }

    /// The root as a list of texts.
    pub fn texts(&self) -> Option<Vec<&'a str>> {
        let Value::List(items) = &self.values[self.root] else { return None };
        let text = |id: &Id| match self.values[*id] {
            Value::Text(text) => Some(text),
            _ => None,
        };
        items.iter().map(text).collect()
    }

    fn dict(&self, id: Id) -> Option<&[(Id, Id)]> {
        match &self.values[id] {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    fn entry(&self, entries: &[(Id, Id)], key: &str) -> Option<Id> {
        let is = |id: Id| matches!(self.values[id], Value::Text(text) if text == key);
        entries.iter().rev().find(|(id, _)| is(*id)).map(|(_, value)| *value)
    }
}

#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// One instruction; the root when it was the last.
    #[allow(clippy::too_many_lines)] // One arm per opcode: a table that is read side by side.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.byte()? {
            b'.' => return self.pop().map(Some),
            // The protocol's number, and the length of a frame: nothing follows from them.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'N' => self.push(Value::None)?,
            0x88 => self.push(Value::Bool(true))?,
            0x89 => self.push(Value::Bool(false))?,
            b'J' => {
                let number = self.u32()? as i32;
                self.push(Value::Int(number.into()))?;
            }
            b'K' => {
                let number = self.byte()?;
                self.push(Value::Int(number.into()))?;
            }
            b'M' => {
                let number = self.take(2)?;
                self.push(Value::Int(i64::from(u16::from_le_bytes([number[0], number[1]]))))?;
            }
            0x8a => {
                let len = self.byte()?.into();
                self.long(len)?;
            }
            b'G' => {
                self.take(8)?;
                self.push(Value::Opaque("", "float"))?;
            }
            0x8c => {
                let len = self.byte()?.into();
                self.text(len)?;
            }
            b'X' => {
                let len = self.u32()? as usize;
                self.text(len)?;
            }
            0x8d => {
                let len = self.u64()?;
                self.text(usize::try_from(len).map_err(|_| "a text without end")?)?;
            }
            b'U' | b'C' => {
                let len = self.byte()?.into();
                self.blob(len)?;
            }
            b'T' | b'B' => {
                let len = self.u32()? as usize;
                self.blob(len)?;
            }
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items))?;
            }
            count @ 0x85..=0x87 => {
                let items = self.top(usize::from(count - 0x84))?;
                self.push(Value::Tuple(items))?;
            }
            b'l' | 0x91 => {
                let items = self.since_mark()?;
                self.push(Value::List(items))?;
            }
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)?))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let items = self.top(2)?;
                self.insert(&items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.insert(&items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(module, name))?;
            }
            0x93 => {
                let names = self.top(2)?;
                let (Value::Text(module), Value::Text(name)) = (&self.values[names[0]], &self.values[names[1]]) else {
                    return Err("a class whose name is no text".into());
                };
                let global = Value::Global(module, name);
                self.push(global)?;
            }
            b'q' => {
                let place = self.byte()?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = self.u32()?;
                self.remember(place)?;
            }
            0x94 => {
                let place = u32::try_from(self.memo.len()).map_err(|_| "too many values")?;
                self.remember(place)?;
            }
            b'h' => {
                let place = self.byte()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = self.u32()?;
                self.recall(place)?;
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let id = *self.stack.last().ok_or("nothing to double")?;
                self.stack.push(id);
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(Value::Storage(storage))?;
            }
            b'R' | 0x81 => {
                let call = self.top(2)?;
                let made = self.made(call[0], call[1])?;
                self.push(made)?;
            }
            // Attributes of an object: a state dict's are its version numbers.
            b'b' => drop(self.pop()?),
            other => return Err(format!("instruction {other:#04x} is none that a state dict needs")),
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("it asks for {len} bytes, and {} are left", self.bytes.len() - self.at))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    fn u32(&mut self) -> Result<u32, String> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }

    fn u64(&mut self) -> Result<u64, String> {
        let b = self.take(8)?;
        Ok(u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|byte| *byte == b'\n').ok_or("a name without end")?;
        let line = self.take(len + 1)?;
        std::str::from_utf8(&line[..len]).map_err(|_| "a name that is not UTF-8".into())
    }

    fn text(&mut self, len: usize) -> Result<(), String> {
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| "a text that is not UTF-8")?;
        self.push(Value::Text(text))
    }

    /// Texts of Python 2 are such, and so are bytes.
    fn blob(&mut self, len: usize) -> Result<(), String> {
        let bytes = self.take(len)?;
        self.push(std::str::from_utf8(bytes).map_or(Value::Opaque("", "bytes"), Value::Text))
    }

    /// A number of any length, little-endian with a sign.
    fn long(&mut self, len: usize) -> Result<(), String> {
        let bytes = self.take(len)?;
        if len > 8 {
            return self.push(Value::Opaque("", "int"));
        }
        let fill = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 };
        let mut number = [fill; 8];
        number[..len].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(number)))
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), String> {
        if self.values.len() == MAX_VALUES {
            return Err(format!("it makes more than {MAX_VALUES} values"));
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(|| "it takes from an empty stack".into())
    }

    fn top(&mut self, count: usize) -> Result<Vec<Id>, String> {
        let at = self.stack.len().checked_sub(count).ok_or("it takes from an empty stack")?;
        Ok(self.stack.split_off(at))
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or("a mark is missing")?;
        Ok(self.stack.split_off(mark))
    }

    fn remember(&mut self, place: u32) -> Result<(), String> {
        let id = *self.stack.last().ok_or("nothing to remember")?;
        self.memo.insert(place, id);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), String> {
        let id = *self.memo.get(&place).ok_or("it recalls what it never remembered")?;
        // References cost no value; a bound of the stack bounds them.
        if self.stack.len() > MAX_VALUES {
            return Err(format!("it holds more than {MAX_VALUES} values"));
        }
        self.stack.push(id);
        Ok(())
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let list = *self.stack.last().ok_or("nothing to append to")?;
        match &mut self.values[list] {
            Value::List(list) => list.extend(items),
            Value::Opaque(..) => {}
            _ => return Err("it appends to what is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Result<(), String> {
        let dict = *self.stack.last().ok_or("nothing to insert into")?;
        let entries = pairs(items)?;
        match &mut self.values[dict] {
            Value::Dict(dict) => dict.extend(entries),
            Value::Opaque(..) => {}
            _ => return Err("it inserts into what is no dict".into()),
        }
        Ok(())
    }

    fn tuple(&self, id: Id) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            _ => Err("a tuple is missing".into()),
        }
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match self.values[id] {
            Value::Int(number) => usize::try_from(number).map_err(|_| format!("{number} is no size")),
            _ => Err("a size is no number".into()),
        }
    }

    /// `("storage", type, key, device, numbers)`, and more in old files.
    fn storage(&self, id: Id) -> Result<Storage<'a>, String> {
        let parts: Vec<&Value<'a>> = self.tuple(id)?.iter().map(|id| &self.values[*id]).collect();
        match parts[..] {
            [Value::Text("storage"), Value::Global(_, kind), Value::Text(key), _, Value::Int(len), ..] => {
                Ok(Storage { kind, key, len: usize::try_from(*len).map_err(|_| format!("{len} is no size"))? })
            }
            _ => Err("a reference that is no storage".into()),
        }
    }

    /// What calling `callable` makes.
    fn made(&self, callable: Id, arguments: Id) -> Result<Value<'a>, String> {
        let (module, name) = match self.values[callable] {
            Value::Global(module, name) => (module, name),
            Value::Opaque(module, name) => return Ok(Value::Opaque(module, name)),
            _ => return Err("it calls what is no function".into()),
        };
        match (module, name) {
            ("collections", "OrderedDict") if self.tuple(arguments)?.is_empty() => Ok(Value::Dict(Vec::new())),
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => match self.tuple(arguments)? {
                [storage, offset, shape, stride, ..] => {
                    let Value::Storage(storage) = self.values[*storage] else {
                        return Err("a tensor without storage".into());
                    };
                    let sizes = |id: &Id| {
                        let sides = self.tuple(*id)?;
                        if sides.len() > MAX_DIMENSIONS {
                            return Err(format!("a tensor of {} dimensions", sides.len()));
                        }
                        sides.iter().map(|id| self.size(*id)).collect::<Result<Vec<_>, String>>()
                    };
                    let (shape, stride): (Vec<usize>, Vec<usize>) = (sizes(shape)?, sizes(stride)?);
                    if shape.len() != stride.len() {
                        return Err("a tensor whose shape and strides differ in length".into());
                    }
                    Ok(Value::Tensor(Tensor { storage, offset: self.size(*offset)?, shape, stride }))
                }
                _ => Err("a tensor without shape".into()),
            },
            ("torch._utils", "_rebuild_parameter") => match self.tuple(arguments)? {
                [tensor, ..] => Ok(self.values[*tensor].clone()),
                [] => Err("a parameter without tensor".into()),
            },
            _ => Ok(Value::Opaque(module, name)),
        }
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match items.len().is_multiple_of(2) {
        true => Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()),
        false => Err("a key without value".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fault(bytes: &[u8]) -> String {
        match Pickle::read(bytes) {
            Ok(pickle) => pickle.tensors().err().unwrap_or_default(),
            Err(message) => message,
        }
    }

    #[test]
    fn what_is_no_state_dict_is_said() {
        for (bytes, part) in [
            (&b"\x80\x02N."[..], "no dict of tensors"),
            (b"\x80\x02cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", "an object of os.system"),
            (b"\x80\x02}X\x03\x00\x00\x00a.bcos\nsystem\n)Rs.", "entry a.b is made by calling os.system"),
            (b"\x80\x02}", "asks for 1 bytes"),
            (b"X\xff\xff\xff\xff", "asks for 4294967295 bytes"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "asks for 18446744073709551615 bytes"),
            (b"t.", "a mark is missing"),
            (b"0", "empty stack"),
            (b"h\x05", "never remembered"),
            (b"i", "instruction 0x69"),
            (b"N)R.", "calls what is no function"),
            (b"NQ", "a tuple is missing"),
            (b"(NNN}u", "nothing to insert into"),
        ] {
            let message = fault(bytes);
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let many = vec![b')'; MAX_VALUES + 1];
        assert!(fault(&many).contains("more than 2097152 values"));
        // One long tuple, and tensors that all have it for their shape.
        let mut wide = b"ctorch._utils\n_rebuild_tensor_v2\n(((X\x07\x00\x00\x00storagectorch\nFloatStorage\n".to_vec();
        wide.extend(b"X\x01\x00\x00\x000NK\x01tQK\x00(");
        wide.extend(b"K\x01".repeat(65));
        wide.extend(b"t2tR");
        assert!(fault(&wide).contains("a tensor of 65 dimensions"), "{}", fault(&wide));
        // A tuple in a tuple in a tuple: neither reading nor dropping it recurses.
        let mut deep = vec![b')'];
        deep.resize(1 << 20, 0x85);
        deep.push(b'.');
        assert!(fault(&deep).contains("no dict"));
    }

    #[test]
    fn every_prefix_of_a_state_dict_is_an_error_or_ends_it() {
        let whole = include_bytes!("../../tests/data/checkpoints/legacy.pt");
        let starts: Vec<usize> = (0..whole.len()).filter(|at| whole[*at..].starts_with(b"\x80\x02c")).collect();
        let pickle = &whole[starts[0]..];
        let len = Pickle::read(pickle).unwrap().len;
        for cut in 0..len {
            assert!(Pickle::read(&pickle[..cut]).is_err(), "{cut}");
        }
    }
}
