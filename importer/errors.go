package importer

import (
	"fmt"
	"strings"

	"github.com/postrider/postrider/campaign"
)

// FileError says that a whole file cannot be imported: where, why, and what to
// do. Nothing of it is imported then. It has campaign.CodeInvalid.
type FileError struct {
	Name    string // of the file
	Line    int    // 1-based; 0 when the fault is in no line
	Column  string // as the header spells it; may be empty
	Problem string
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.Name)
	if e.Line > 0 {
		fmt.Fprintf(&b, ", line %d", e.Line)
	}
	if e.Column != "" {
		fmt.Fprintf(&b, ", column %q", e.Column)
	}
	b.WriteString(": " + e.Problem)
	return b.String()
}

// Unwrap returns the code.
func (e *FileError) Unwrap() error {
	return &campaign.Error{Code: campaign.CodeInvalid, Message: "the file cannot be imported"}
}
