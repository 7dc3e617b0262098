package jobs

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/postrider/postrider/importer"
)

// ColumnFlags say what the columns of a file hold, where their names do not.
type ColumnFlags struct {
	Map        []string // phone=Handy, first_name=#3, notes=-
	Header     string   // auto (also when empty), yes or no
	ShowValues bool     // in the report of dropped rows
}

// AddFlags makes the flags.
func (c *ColumnFlags) AddFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&c.Map, "map", nil, "what a column is: phone=Handy, first_name='Vor name', tier=#3 (the third); notes=- leaves it out; may be repeated")
	f.StringVar(&c.Header, "header", "", "whether the file has a line that names its columns: auto (default), yes or no")
	f.BoolVar(&c.ShowValues, "show-values", false, "write values in full into the report of dropped rows, which are masked otherwise")
}

// ColumnError says which of the flags is wrong, in words that follow its name.
type ColumnError struct {
	Flag string
	Err  error
}

func (e *ColumnError) Error() string { return "--" + e.Flag + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *ColumnError) Unwrap() error { return e.Err }

// Read understands the flags. What is wrong with them is a *ColumnError.
func (c *ColumnFlags) Read() (assigned map[string]string, header importer.HeaderMode, err error) {
	if header, err = importer.ParseHeaderMode(c.Header); err != nil {
		return nil, 0, &ColumnError{"header", err}
	}
	for _, entry := range c.Map {
		name, column, ok := strings.Cut(entry, "=")
		name = strings.TrimSpace(name)
		switch _, twice := assigned[name]; {
		case !ok || name == "" || strings.TrimSpace(column) == "":
			return nil, 0, &ColumnError{"map", fmt.Errorf("%q does not say what a column is: write NAME=COLUMN, such as phone=Handy, or phone=#3 for the third column", entry)}
		case twice:
			return nil, 0, &ColumnError{"map", fmt.Errorf("%s is given twice: keep one of them", name)}
		}
		if assigned == nil {
			assigned = map[string]string{}
		}
		assigned[name] = column
	}
	if err := importer.CheckMap(assigned); err != nil {
		return nil, 0, &ColumnError{"map", err}
	}
	return assigned, header, nil
}
