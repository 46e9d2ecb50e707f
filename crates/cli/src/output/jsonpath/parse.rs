//! Reading templates.

use super::{Comparison, Condition, JsonPathError, Node, Operand, Path, Slice, Step};
use crate::limits::TEMPLATE_DEPTH;
use serde_json::Value;

/// Reads a whole template.
pub(super) fn template(text: &str) -> Result<Vec<Node>, JsonPathError> {
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    match parser.nodes()? {
        (nodes, false) => Ok(nodes),
        (_, true) => wrong("not in range, nothing to end"),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

fn wrong<T>(why: impl Into<String>) -> Result<T, JsonPathError> {
    Err(JsonPathError(why.into()))
}

impl<'a> Parser<'a> {
    /// Nodes until the end of the text (false) or of a range (true).
    fn nodes(&mut self) -> Result<(Vec<Node>, bool), JsonPathError> {
        self.deeper()?;
        let mut nodes = Vec::new();
        while let Some(open) = self.rest.find('{') {
            if open > 0 {
                nodes.push(Node::Text(self.rest[..open].to_owned()));
            }
            self.rest = &self.rest[open + 1..];
            if self.action(&mut nodes)? {
                self.depth -= 1;
                return Ok((nodes, true));
            }
        }
        if !self.rest.is_empty() {
            nodes.push(Node::Text(self.rest.to_owned()));
        }
        self.rest = "";
        self.depth -= 1;
        Ok((nodes, false))
    }

    fn deeper(&mut self) -> Result<(), JsonPathError> {
        self.depth += 1;
        if self.depth > TEMPLATE_DEPTH {
            return wrong(format!("nested deeper than {TEMPLATE_DEPTH}"));
        }
        Ok(())
    }

    /// What stands between braces; true when it was `end`.
    fn action(&mut self, nodes: &mut Vec<Node>) -> Result<bool, JsonPathError> {
        loop {
            self.spaces();
            match self.peek() {
                None => return wrong("unclosed action"),
                Some('}') => {
                    self.bump();
                    return Ok(false);
                }
                Some('"' | '\'') => nodes.push(Node::Text(self.quoted()?)),
                Some('.' | '$' | '@' | '[') => nodes.push(Node::Path(self.path()?)),
                Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => {
                    nodes.push(Node::Text(self.number_text().to_owned()));
                }
                Some(c) if c.is_ascii_alphabetic() => match self.word() {
                    "end" => {
                        self.close()?;
                        return Ok(true);
                    }
                    "range" => {
                        nodes.push(self.range()?);
                        return Ok(false);
                    }
                    word @ ("true" | "false") => nodes.push(Node::Text(word.to_owned())),
                    word => return wrong(format!("unrecognized identifier {word}")),
                },
                Some(c) => return wrong(format!("unrecognized character in action: {c:?}")),
            }
        }
    }

    fn range(&mut self) -> Result<Node, JsonPathError> {
        self.spaces();
        let path = self.path()?;
        self.close()?;
        match self.nodes()? {
            (body, true) => Ok(Node::Range(path, body)),
            (_, false) => wrong("unterminated range"),
        }
    }

    fn close(&mut self) -> Result<(), JsonPathError> {
        self.spaces();
        self.expect('}')
    }

    fn path(&mut self) -> Result<Path, JsonPathError> {
        let from_root = match self.peek() {
            Some(c @ ('$' | '@')) => {
                self.bump();
                c == '$'
            }
            Some('.' | '[') => false,
            _ => return wrong("expected a path"),
        };
        let mut steps = Vec::new();
        loop {
            match self.peek() {
                Some('.') => {
                    self.bump();
                    self.dotted(&mut steps);
                }
                Some('[') => {
                    self.bump();
                    steps.push(self.bracketed()?);
                }
                _ => return Ok(Path { from_root, steps }),
            }
        }
    }

    fn dotted(&mut self, steps: &mut Vec<Step>) {
        if self.peek() == Some('.') {
            self.bump();
            steps.push(Step::Descend);
        }
        if self.peek() == Some('*') {
            self.bump();
            steps.push(Step::Every);
            return;
        }
        // `{.}` is the value itself, `{.[0]}` an element of it.
        let field = self.field();
        if !field.is_empty() {
            steps.push(Step::Field(field));
        }
    }

    /// A field's name; a backslash takes the next character as it is.
    fn field(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if c.is_whitespace() || ".[]{}(),=<>!&|@$'\"".contains(c) {
                break;
            }
            self.bump();
            name.extend(if c == '\\' { self.bump() } else { Some(c) });
        }
        name
    }

    /// What stands between `[` and `]`.
    fn bracketed(&mut self) -> Result<Step, JsonPathError> {
        self.spaces();
        if self.peek() == Some('?') {
            self.bump();
            self.spaces();
            self.expect('(')?;
            let condition = self.condition()?;
            self.spaces();
            self.expect(')')?;
            self.spaces();
            self.expect(']')?;
            return Ok(Step::Filter(Box::new(condition)));
        }
        let mut parts = Vec::new();
        loop {
            self.spaces();
            parts.push(self.selector()?);
            self.spaces();
            match self.bump() {
                Some(',') => {}
                Some(']') if parts.len() == 1 => return Ok(parts.remove(0)),
                Some(']') => return Ok(Step::Union(parts)),
                _ => return wrong("unterminated array"),
            }
        }
    }

    fn selector(&mut self) -> Result<Step, JsonPathError> {
        match self.peek() {
            Some('*') => {
                self.bump();
                Ok(Step::Every)
            }
            Some('"' | '\'') => Ok(Step::Field(self.quoted()?)),
            Some(c) if c.is_ascii_digit() || c == '-' || c == ':' => self.slice().map(Step::Slice),
            _ => wrong("invalid array index"),
        }
    }

    fn slice(&mut self) -> Result<Slice, JsonPathError> {
        let mut slice = Slice {
            from: self.integer()?,
            to: None,
            by: 1,
            single: true,
        };
        if self.peek() == Some(':') {
            self.bump();
            slice.single = false;
            slice.to = self.integer()?;
            if self.peek() == Some(':') {
                self.bump();
                slice.by = self.integer()?.unwrap_or(1);
            }
        }
        if slice.by < 1 {
            return wrong("step must be > 0");
        }
        if slice.single && slice.from.is_none() {
            return wrong("invalid array index");
        }
        Ok(slice)
    }

    fn integer(&mut self) -> Result<Option<i64>, JsonPathError> {
        self.spaces();
        let sign = usize::from(self.peek() == Some('-'));
        let unsigned = &self.rest[sign..];
        let digits = unsigned
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(unsigned.len());
        if digits == 0 {
            return if sign > 0 {
                wrong("invalid array index -")
            } else {
                Ok(None)
            };
        }
        let (text, rest) = self.rest.split_at(sign + digits);
        self.rest = rest;
        self.spaces();
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => wrong(format!("invalid array index {text}")),
        }
    }

    fn condition(&mut self) -> Result<Condition, JsonPathError> {
        self.deeper()?;
        self.spaces();
        let left = self.operand()?;
        self.spaces();
        let comparisons = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let found = comparisons
            .into_iter()
            .find(|(sign, _)| self.rest.starts_with(sign));
        let condition = match found {
            None => Condition::Exists(left),
            Some((sign, comparison)) => {
                self.rest = &self.rest[sign.len()..];
                self.spaces();
                Condition::Compare(left, comparison, self.operand()?)
            }
        };
        self.depth -= 1;
        Ok(condition)
    }

    fn operand(&mut self) -> Result<Operand, JsonPathError> {
        match self.peek() {
            Some('"' | '\'') => self.quoted().map(Value::from).map(Operand::Literal),
            Some('@' | '$' | '.' | '[') => self.path().map(Operand::Path),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '+' => {
                let text = self.number_text();
                match serde_json::from_str::<Value>(text.trim_start_matches('+')) {
                    Ok(number) if number.is_number() => Ok(Operand::Literal(number)),
                    _ => wrong(format!("cannot read number {text}")),
                }
            }
            Some(c) if c.is_ascii_alphabetic() => match self.word() {
                "true" => Ok(Operand::Literal(true.into())),
                "false" => Ok(Operand::Literal(false.into())),
                "null" | "nil" => Ok(Operand::Literal(Value::Null)),
                word => wrong(format!("unrecognized identifier {word}")),
            },
            _ => wrong("unrecognized filter"),
        }
    }

    /// A text in single or double quotes, with the escapes of Go.
    fn quoted(&mut self) -> Result<String, JsonPathError> {
        let quote = self.bump();
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return wrong("unterminated quoted string"),
                c if c == quote => return Ok(text),
                Some('\\') => match self.bump() {
                    None => return wrong("unterminated quoted string"),
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                },
                Some(c) => text.push(c),
            }
        }
    }

    fn word(&mut self) -> &'a str {
        self.take(|c| c.is_ascii_alphanumeric() || c == '_')
    }

    fn number_text(&mut self) -> &'a str {
        self.take(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    }

    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn expect(&mut self, wanted: char) -> Result<(), JsonPathError> {
        match self.bump() {
            Some(c) if c == wanted => Ok(()),
            Some(c) => wrong(format!("expected {wanted:?}, found {c:?}")),
            None => wrong(format!("expected {wanted:?}, found the end")),
        }
    }
}
