//! Aligned columns, as Go's `text/tabwriter` makes them: cells end at a tab, and a column is as wide as the widest
//! cell of the lines around it that have one.

/// Aligns text whose cells end at tabs. Each column is followed by at least `padding` spaces and is at least
/// `minimum` wide.
#[must_use]
pub fn align(text: &str, minimum: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    // What follows the last tab of a line belongs to no column.
    let cells = |line: usize| lines[line].len() - 1;
    let deepest = (0..lines.len()).map(cells).max().unwrap_or(0);
    let mut widths: Vec<Vec<usize>> = (0..lines.len()).map(|line| vec![0; cells(line)]).collect();
    for column in 0..deepest {
        let mut line = 0;
        while line < lines.len() {
            if cells(line) <= column {
                line += 1;
                continue;
            }
            let begin = line;
            while line < lines.len() && cells(line) > column {
                line += 1;
            }
            let widest = (begin..line)
                .map(|line| lines[line][column].chars().count())
                .max()
                .unwrap_or(0);
            for widths in &mut widths[begin..line] {
                widths[column] = (widest + padding).max(minimum);
            }
        }
    }
    let mut aligned = String::with_capacity(text.len() * 2);
    for (line, widths) in lines.iter().zip(&widths) {
        for (column, cell) in line.iter().enumerate() {
            aligned.push_str(cell);
            if let Some(width) = widths.get(column) {
                let left = width.saturating_sub(cell.chars().count());
                aligned.extend(std::iter::repeat_n(' ', left));
            }
        }
        aligned.push('\n');
    }
    aligned
}

/// Text of indented lines with aligned columns: what `describe` prints.
#[derive(Debug, Default)]
pub struct Sheet {
    text: String,
}

impl Sheet {
    /// A line, `level` steps in. Cells are separated by tabs.
    pub fn line(&mut self, level: usize, text: &str) {
        for _ in 0..level {
            self.text.push_str("  ");
        }
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// `Label:` and what it says.
    pub fn field(&mut self, level: usize, label: &str, value: &str) {
        self.line(level, &format!("{label}:\t{value}"));
    }

    /// Everything, aligned.
    #[must_use]
    pub fn finish(self) -> String {
        align(&self.text, 0, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::align;

    #[test]
    fn a_column_is_as_wide_as_the_cells_around_it() {
        assert_eq!(
            align("a\tb\nccc\td\n\nx\ty\n", 0, 2),
            "a    b\nccc  d\n\nx  y\n"
        );
        assert_eq!(align("AGE\tX\n5d\tY\n", 6, 3), "AGE   X\n5d    Y\n");
        assert_eq!(align("", 0, 2), "");
    }
}
