package campaign

// AppendFolded appends s as it is compared wherever case and white space do not
// matter: in lower case, its runs of white space made one space and those at its
// ends dropped.
func AppendFolded(b []byte, s string) []byte { return appendFolded(b, s) }
