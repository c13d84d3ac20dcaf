//! Facts about chunks, read in step with the chunks.

use std::iter::Peekable;

/// Items with the numbers of their chunks, ascending, gone through in step with the chunks.
pub(crate) struct InStep<I: Iterator> {
    items: Peekable<I>,
}

impl<T, E, I: Iterator<Item = Result<(u64, T), E>>> InStep<I> {
    pub(crate) fn new(items: I) -> Self {
        Self {
            items: items.peekable(),
        }
    }

    /// The item of chunk `number`, if it has one. Numbers must ascend from call to call.
    ///
    /// # Errors
    /// That of the next item, if it is one.
    pub(crate) fn at(&mut self, number: u64) -> Result<Option<T>, E> {
        let is_before = |item: &I::Item| item.as_ref().is_ok_and(|&(at, _)| at < number);
        while self.items.next_if(is_before).is_some() {}
        let is_here = |item: &I::Item| item.as_ref().map_or(true, |&(at, _)| at == number);
        match self.items.next_if(is_here) {
            Some(item) => item.map(|(_, item)| Some(item)),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::InStep;

    #[test]
    fn each_chunk_gets_its_own_item_and_an_error_comes_when_it_is_met() {
        let items = [Ok((1, 'a')), Ok((2, 'b')), Ok((5, 'c')), Err("lost")];
        let mut known = InStep::new(items.into_iter());
        let found = [0, 1, 3, 5].map(|number| known.at(number).unwrap());
        assert_eq!(found, [None, Some('a'), None, Some('c')]);
        assert_eq!(known.at(6), Err("lost"));
        assert_eq!(known.at(7), Ok(None));
    }
}
