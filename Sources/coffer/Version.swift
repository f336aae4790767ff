/// The version of Coffer: changed here and nowhere else.
let cofferVersion = "0.1.0"
