package campaign

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// CheckName refuses a name of a campaign, list or schedule that could not be
// told from something else. What says of which. The error has CodeInvalid.
func CheckName(what, name string) error {
	switch {
	case strings.TrimSpace(name) != name || name == "":
		return Errorf(CodeInvalid, "the %s's name is empty, or begins or ends with a space", what)
	case strings.ContainsFunc(name, unicode.IsControl) || !utf8.ValidString(name):
		return Errorf(CodeInvalid, "the %s's name holds a character that cannot be typed", what)
	case utf8.RuneCountInString(name) > 100:
		return Errorf(CodeInvalid, "the %s's name is longer than 100 characters", what)
	case strings.HasPrefix(name, "list:"):
		return Errorf(CodeInvalid, "the %s's name begins with list:, which says only where it is used that a list is meant: leave that out", what)
	case strings.Trim(name, "0123456789") == "":
		return Errorf(CodeInvalid, "the %s's name %s is a number, which would be read as an id: add a letter", what, name)
	}
	return nil
}
