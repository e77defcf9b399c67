//! What of the model is shown, and the keys that change that.

use super::keys::Key;
use super::model::Model;

/// A part of the screen that has a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    /// Ports and IDs as they leave.
    Wire,
    /// Who asks, and who is asked.
    Tops,
    /// In whose name replies are forged.
    Forged,
}

impl Pane {
    /// In the order of their numbers.
    pub(crate) const ALL: [Pane; 3] = [Pane::Wire, Pane::Tops, Pane::Forged];

    /// What stands above it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Pane::Wire => "Ports and IDs",
            Pane::Tops => "Clients and servers",
            Pane::Forged => "Forged replies",
        }
    }
}

/// What is shown.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The one pane that has the room to itself; else all, where they fit.
    zoomed: Option<Pane>,
    /// Whether all panes fit the terminal, as it was drawn last.
    pub(crate) roomy: bool,
    /// The model as it was when space was pressed.
    paused: Option<Box<Model>>,
    /// Whether the help lies above.
    pub(crate) help: bool,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Yes.
    Go,
    /// No.
    Quit,
}

impl View {
    /// Does what a key says.
    pub(crate) fn press(&mut self, key: Key, model: &mut Model) -> Next {
        match key {
            Key::ControlC => return Next::Quit,
            // Whatever key: it ends the help, and does nothing else.
            _ if self.help => self.help = false,
            Key::Sign('q' | 'Q') | Key::Escape => return Next::Quit,
            Key::Sign(' ') => {
                self.paused = match self.paused {
                    Some(_) => None,
                    None => Some(Box::new(model.clone())),
                };
            }
            Key::Tab => self.zoomed = self.after(),
            Key::Sign(digit @ '1'..='3') => {
                let pane = Pane::ALL[digit as usize - '1' as usize];
                let again = self.roomy && self.zoomed == Some(pane);
                self.zoomed = if again { None } else { Some(pane) };
            }
            Key::Sign('r') => {
                model.reset();
                if let Some(paused) = &mut self.paused {
                    paused.reset();
                }
            }
            Key::Sign('?' | 'h') => self.help = true,
            Key::Sign(_) => {}
        }
        Next::Go
    }

    /// What Tab brings.
    fn after(&self) -> Option<Pane> {
        match self.zoomed {
            None if self.roomy => Some(Pane::Wire),
            None | Some(Pane::Wire) => Some(Pane::Tops),
            Some(Pane::Tops) => Some(Pane::Forged),
            Some(Pane::Forged) if self.roomy => None,
            Some(Pane::Forged) => Some(Pane::Wire),
        }
    }

    /// The pane that has the room to itself; none if all are shown.
    pub(crate) fn single(&self) -> Option<Pane> {
        self.zoomed.or(if self.roomy { None } else { Some(Pane::Wire) })
    }

    /// What to show: the model, or how it was.
    pub(crate) fn of<'a>(&'a self, model: &'a Model) -> &'a Model {
        self.paused.as_deref().unwrap_or(model)
    }

    /// Whether what is shown stands still.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        Model::new("gateway".to_owned(), &[], 5, 1)
    }

    fn press(view: &mut View, key: Key) -> Next {
        view.press(key, &mut model())
    }

    #[test]
    fn tab_goes_round() {
        let mut view = View::default();
        let round = |view: &mut View| {
            press(view, Key::Tab);
            view.single()
        };
        let one = [Some(Pane::Tops), Some(Pane::Forged), Some(Pane::Wire), Some(Pane::Tops)];
        assert_eq!([(); 4].map(|()| round(&mut view)), one);
        let mut view = View { roomy: true, ..View::default() };
        let all = [Some(Pane::Wire), Some(Pane::Tops), Some(Pane::Forged), None];
        assert_eq!([(); 4].map(|()| round(&mut view)), all);
    }

    #[test]
    fn numbers_choose_and_the_same_again_shows_all() {
        let mut view = View { roomy: true, ..View::default() };
        press(&mut view, Key::Sign('2'));
        assert_eq!(view.single(), Some(Pane::Tops));
        press(&mut view, Key::Sign('2'));
        assert_eq!(view.single(), None);
    }

    #[test]
    fn space_holds_what_is_shown() {
        let (mut view, mut model) = (View::default(), model());
        view.press(Key::Sign(' '), &mut model);
        model.tick(7);
        assert_eq!(view.of(&model).now, 5);
        view.press(Key::Sign(' '), &mut model);
        assert_eq!(view.of(&model).now, 7);
    }

    #[test]
    fn three_keys_quit_and_help_takes_any() {
        let mut view = View::default();
        assert_eq!(press(&mut view, Key::ControlC), Next::Quit);
        assert_eq!(press(&mut view, Key::Sign('q')), Next::Quit);
        assert_eq!(press(&mut view, Key::Escape), Next::Quit);
        press(&mut view, Key::Sign('?'));
        assert!(view.help);
        assert_eq!(press(&mut view, Key::Sign('q')), Next::Go);
        assert!(!view.help);
    }
}
