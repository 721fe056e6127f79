//! The terminal as ratatui draws on it, through crossterm.

use std::io::{self, BufWriter, Stdout, Write};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, Color as Ink, Print, SetAttribute, SetForegroundColor};
use crossterm::terminal::{Clear, ClearType as Part, size};
use crossterm::{execute, queue};
use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};

/// The largest terminal that is drawn on in full, far more than any screen has: a pseudo-terminal may say that it is
/// 65535 x 65535, and a frame of that size has no place in memory.
const LARGEST: Size = Size { width: 1000, height: 500 };

/// The size that is drawn on a terminal of this size.
fn drawn(width: u16, height: u16) -> Size {
    Size { width: width.min(LARGEST.width), height: height.min(LARGEST.height) }
}

/// Draws a frame at once: it is buffered until [`flush`](Backend::flush).
pub struct Screen(BufWriter<Stdout>);

impl Screen {
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(1 << 14, io::stdout()))
    }
}

/// The view uses the terminal's own colours, so that it fits light and dark ones.
fn ink(color: Color) -> Ink {
    match color {
        Color::Red => Ink::DarkRed,
        Color::Green => Ink::DarkGreen,
        Color::Yellow => Ink::DarkYellow,
        Color::Blue => Ink::DarkBlue,
        Color::Cyan => Ink::DarkCyan,
        Color::DarkGray => Ink::DarkGrey,
        _ => Ink::Reset,
    }
}

impl Backend for Screen {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let out = &mut self.0;
        let mut next = None;
        let mut style = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                queue!(out, MoveTo(x, y))?;
            }
            next = Some((x + 1, y));
            if style != Some((cell.fg, cell.modifier)) {
                style = Some((cell.fg, cell.modifier));
                queue!(out, SetAttribute(Attribute::Reset), SetForegroundColor(ink(cell.fg)))?;
                for (modifier, attribute) in [
                    (Modifier::BOLD, Attribute::Bold),
                    (Modifier::DIM, Attribute::Dim),
                    (Modifier::REVERSED, Attribute::Reverse),
                ] {
                    if cell.modifier.contains(modifier) {
                        queue!(out, SetAttribute(attribute))?;
                    }
                }
            }
            queue!(out, Print(cell.symbol()))?;
        }
        queue!(out, SetAttribute(Attribute::Reset))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        execute!(self.0, Hide)
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        execute!(self.0, Show)
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        // Nothing that is drawn depends on where the hidden cursor is.
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        queue!(self.0, MoveTo(x, y))
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, part: ClearType) -> io::Result<()> {
        let part = match part {
            ClearType::All => Part::All,
            ClearType::AfterCursor => Part::FromCursorDown,
            ClearType::BeforeCursor => Part::FromCursorUp,
            ClearType::CurrentLine => Part::CurrentLine,
            ClearType::UntilNewLine => Part::UntilNewLine,
        };
        queue!(self.0, Clear(part))
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = size()?;
        Ok(drawn(width, height))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_bounds_is_drawn_on_in_part() {
        assert_eq!(drawn(80, 24), Size { width: 80, height: 24 });
        assert_eq!(drawn(u16::MAX, u16::MAX), LARGEST);
    }
}
