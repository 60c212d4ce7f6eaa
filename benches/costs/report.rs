//! The figures of a run: a table for people, JSON for the plot.

use std::fmt::Write as _;

/// One figure.
#[derive(Debug)]
struct Figure {
    case: &'static str,
    unit: &'static str,
    who: &'static str,
    value: f64,
}

/// All figures, in the order of their measuring.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

impl Report {
    /// The median of some values, as the figure of `who` in this case.
    pub(crate) fn take(&mut self, case: &'static str, unit: &'static str, who: &'static str, mut values: Vec<f64>) {
        values.sort_by(f64::total_cmp);
        if let Some(&value) = values.get(values.len() / 2) {
            self.figures.push(Figure { case, unit, who, value });
        }
    }

    /// Each figure with what it is of the floor's.
    pub(crate) fn print(&self) {
        let mut case = "";
        for figure in &self.figures {
            if figure.case != case {
                case = figure.case;
                println!("\n{case} ({})", figure.unit);
            }
            let is_floor = |other: &&Figure| other.case == case && other.who == "floor" && other.value > 0.0;
            let floor = self.figures.iter().find(is_floor);
            let ratio = floor.map_or(String::new(), |floor| format!("{:6.2} x the floor", figure.value / floor.value));
            println!("  {:<14}{:>10.3}{ratio}", figure.who, figure.value);
        }
    }

    /// A list of objects.
    pub(crate) fn json(&self) -> String {
        let mut out = String::from("[\n");
        for (number, Figure { case, unit, who, value }) in self.figures.iter().enumerate() {
            let comma = if number + 1 < self.figures.len() { "," } else { "" };
            let _ =
                writeln!(out, r#" {{"case": "{case}", "unit": "{unit}", "who": "{who}", "value": {value:.4}}}{comma}"#);
        }
        out + "]\n"
    }
}
