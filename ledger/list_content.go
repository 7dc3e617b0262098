package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"slices"
	"strconv"

	"github.com/postrider/postrider/campaign"
)

// ListContent reckons the digest of a list from its contacts in order, without
// writing anything. It is a sink of an import.
type ListContent struct {
	columns *campaign.Columns // of the list
	hash    hash.Hash
	buf     []byte
	added   int    // contacts
	cells   int    // that each has in the digest
	uneven  bool   // some were added with fewer cells than others
	digest  string // once the list has ended

	from   *campaign.Columns // of the contacts that came last
	place  []int             // and where they stand among the list's; nil: at the same places
	values []string
}

// NewListContent begins a list without contacts.
func NewListContent() *ListContent { return &ListContent{hash: sha256.New()} }

// Contacts adds contacts in the order of the file. It never fails.
func (lc *ListContent) Contacts(_ context.Context, chunk []campaign.Contact) error {
	for i := range chunk {
		cells := lc.pack(&chunk[i])
		lc.add(cells.phone, cells.data)
	}
	return nil
}

// Digest ends the list: nothing is added after it. Two lists have the same when they
// have the same contacts in the same order, lines of files aside, and the same
// columns. It must stay what it is for as long as there are ledgers: by it the
// same file is known again, and the same campaign.
func (lc *ListContent) Digest() string {
	if lc.digest != "" {
		return lc.digest
	}
	columns, err := json.Marshal(append([]string{}, lc.columns.Names()...))
	if err != nil { // strings always marshal
		panic(err)
	}
	lc.hash.Write(columns)
	lc.digest = hex.EncodeToString(lc.hash.Sum(nil))
	return lc.digest
}

// pack is what is stored of a contact. Columns that the list does not have yet
// are added behind its others.
func (lc *ListContent) pack(c *campaign.Contact) contactCells {
	if of := c.Fields.Columns; of != lc.from && of != lc.columns && of != nil {
		lc.meet(of)
	}
	if c.Fields.Columns == lc.columns || lc.place == nil || len(c.Fields.Values) == 0 {
		return contactCells{int64(c.Line), c.Phone, packContact(c)}
	}
	lc.values = append(lc.values[:0], make([]string, len(lc.columns.Names()))...)
	for i, to := range lc.place {
		if i < len(c.Fields.Values) {
			lc.values[to] = c.Fields.Values[i]
		}
	}
	k := *c
	k.Fields = campaign.Fields{Columns: lc.columns, Values: lc.values}
	return contactCells{int64(c.Line), c.Phone, packContact(&k)}
}

// meet finds the places of other columns among the list's.
func (lc *ListContent) meet(from *campaign.Columns) {
	lc.from, lc.place = from, nil
	names := slices.Clone(lc.columns.Names())
	same := true
	for i, name := range from.Names() {
		at := slices.Index(names, name)
		if at < 0 {
			at, names = len(names), append(names, name)
		}
		same = same && at == i
		lc.place = append(lc.place, at)
	}
	if same {
		lc.place = nil
	}
	if len(names) > len(lc.columns.Names()) {
		lc.columns = campaign.NewColumns(names...)
	}
}

// add adds a stored contact to the digest, with all the cells that its list has
// columns for: those at its end that are empty are not stored (see packContact).
func (lc *ListContent) add(phone, data string) {
	cells := contactParts + len(lc.columns.Names())
	if lc.added > 0 && cells != lc.cells {
		lc.uneven = true // the contacts before lack the columns that came since
	}
	lc.added, lc.cells = lc.added+1, cells
	missing, escaped := missingCells(data, cells)
	last := ""
	size := len(data) + missing*len(separator)
	if escaped {
		data, last, size = data[:len(data)-1], "]", len(data)+missing*len(`,""`)
	}
	lc.buf = lc.buf[:0]
	lc.buf = strconv.AppendInt(lc.buf, int64(len(phone)), 10)
	lc.buf = append(lc.buf, ':')
	lc.buf = append(lc.buf, phone...)
	lc.buf = strconv.AppendInt(lc.buf, int64(size), 10)
	lc.buf = append(lc.buf, ':')
	lc.buf = append(lc.buf, data...)
	for range missing {
		if escaped {
			lc.buf = append(lc.buf, `,""`...)
		} else {
			lc.buf = append(lc.buf, separator...)
		}
	}
	lc.buf = append(lc.buf, last...)
	lc.hash.Write(lc.buf)
}

// restart begins the digest anew, under the columns that are known by now.
func (lc *ListContent) restart() {
	lc.hash.Reset()
	lc.added, lc.uneven, lc.digest = 0, false, ""
}
