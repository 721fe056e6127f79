//! What travels along an edge.

/// Something that travels along an edge.
pub trait Item: Send + 'static {
    /// The name people see in `pipeline graph` and in messages of `pipeline check`.
    const NAME: &'static str;

    /// About how much memory it holds; counts against the byte budget of the edge.
    fn bytes(&self) -> usize;

    /// Which one it is, for traces: the key of a sample, the number of a step.
    fn label(&self) -> String {
        String::new()
    }
}

/// What comes into the first stage and leaves the last one: nothing.
#[derive(Debug)]
pub enum Nothing {}

impl Item for Nothing {
    const NAME: &'static str = "nothing";

    fn bytes(&self) -> usize {
        match *self {}
    }
}
