package jobs

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/importer"
	"github.com/postrider/postrider/ledger"
)

// remoteIDColumn is the column in which a pulled contact keeps the number that
// it has at the provider.
const remoteIDColumn = "remote_id"

// spoolLife is how old the pages of an interrupted pull may be to be used.
const spoolLife = 24 * time.Hour

// PullRequest is a list of the provider's that is to become one of ours.
type PullRequest struct {
	RemoteID int64
	Name     string // of our list; empty: that of the provider's
	Country  string // of numbers without one; may be empty
}

// Pulled is what a pull came to.
type Pulled struct {
	Remote      clicksend.ContactList
	List        *ledger.List
	Summary     importer.Summary
	RejectsFile string // lists every dropped contact by its number at the provider; empty when none was dropped
	Passes      int    // how often the provider's list was read until it stood still, by this pull
	Resumed     int    // pages that an earlier pull had read, which was interrupted
}

// Pull copies a list of the provider's, whole or not at all. What was read lies
// in the data folder until then. A pull that was interrupted reads the list once
// more: nothing tells whether it changed meanwhile.
func (r *Remote) Pull(ctx context.Context, q PullRequest) (out *Pulled, err error) {
	account, err := r.identity(ctx)
	if err != nil {
		return nil, Explain(err)
	}
	li, err := r.List(ctx, q.RemoteID)
	if err != nil {
		return nil, err
	}
	out = &Pulled{Remote: *li}
	if q.Name == "" {
		q.Name = strings.TrimSpace(li.Name)
		if err := campaign.CheckName("list", q.Name); err != nil {
			return nil, fmt.Errorf("the provider's name of list %d cannot be one here: give another with --as: %w", q.RemoteID, err)
		}
	}
	switch _, err := r.Ledger.FindList(ctx, q.Name); {
	case err == nil:
		return nil, campaign.Errorf(campaign.CodeExists, "a list named %q exists already: give another name with --as, or remove it with `postrider list rm %s`", q.Name, q.Name)
	case campaign.ErrorCode(err) != campaign.CodeNotFound && campaign.ErrorCode(err) != campaign.CodeConflict:
		return nil, err
	}
	s, err := r.openSpool(account, q.RemoteID)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close(err == nil)) }()
	if out.Resumed, err = r.fill(ctx, s, q.RemoteID); err != nil {
		return nil, err
	}
	out.Passes = s.reading.pass - s.reading.broken
	return out, r.store(ctx, s, q, out)
}

// fill reads the list into a spool, and returns how many pages it had before.
func (r *Remote) fill(ctx context.Context, s *spool, list int64) (had int, err error) {
	had = s.pages
	bar := r.meter("reading the provider's list", "contacts")
	defer bar.End()
	return had, r.readContacts(ctx, list, s.reading, bar, s.write)
}

// store imports what was read.
func (r *Remote) store(ctx context.Context, s *spool, q PullRequest, out *Pulled) error {
	if len(s.reading.last) == 0 {
		return campaign.Errorf(campaign.CodeInvalid, "the provider's list %d %q has no contacts: there is nothing to copy", q.RemoteID, out.Remote.Name)
	}
	optedOut, err := r.Ledger.OptedOut(ctx)
	if err != nil {
		return err
	}
	source := fmt.Sprintf("remote list %d", q.RemoteID)
	w, err := r.Ledger.CreateList(ctx, q.Name, source, campaign.ByContact.String())
	if err != nil {
		return err
	}
	rejects := &rejectsFile{path: filepath.Join(r.RejectsDir, fmt.Sprintf("remote-list-%d.rejects.csv", q.RemoteID))}
	bar := r.meter("importing "+source, "contacts")
	sum, err := s.into(ctx, w, importer.Options{
		Name: source, Country: q.Country, Identity: campaign.ByContact,
		OptedOut: func(c *campaign.Contact) bool { return optedOut.BarsAtImport(c, campaign.ByContact) },
		Reject:   func(j importer.Reject) error { return rejects.write(s.named(j)) },
		Progress: func(done importer.Progress) { bar.Report(done.Rows, int(s.reading.total)) },
	}, func(string) bool { return true })
	bar.End()
	if err = errors.Join(err, rejects.close()); err == nil {
		out.List, err = w.Finish(ctx, ledger.ListCounts{
			Rows: sum.Rows, Imported: sum.Imported, Duplicates: sum.Duplicates, Rejected: sum.Rejected, Suppressed: sum.Suppressed,
			Added: sum.Imported,
		})
	}
	if err != nil {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		if aerr := w.Abort(clean); aerr != nil {
			r.Log.Warn("what was stored of the list is out of sight, and is removed at the next start", "error", aerr)
		}
		return err
	}
	out.Summary, out.RejectsFile = sum, rejects.name()
	return nil
}

// into imports the contacts that are on the list, with the columns that are
// wanted, into a sink.
func (s *spool) into(ctx context.Context, sink importer.Sink, o importer.Options, wanted func(column string) bool) (importer.Summary, error) {
	rows, end := io.Pipe()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		end.CloseWithError(s.csv(end, wanted)) //nolint:errcheck // never fails
	}()
	sum, err := importer.Import(ctx, rows, sink, o)
	rows.CloseWithError(errors.New("the import has ended")) //nolint:errcheck // never fails
	<-wrote
	return sum, err
}

// spool is a file with the pages of a pull: a line with what it is, and a line
// for each page. Only its owner may read it.
type spool struct {
	path    string
	file    *os.File
	lock    *flock.Flock
	reading *contactReading
	pages   int             // that were there when it was opened
	all     bool            // whoever was ever seen counts, not only who is on the list
	has     [pulledMax]bool // which fields any contact has

	mu    sync.Mutex
	lines []int   // on which each contact begins in what csv has written
	ids   []int64 // of those contacts
}

// spoolHead is the first line.
type spoolHead struct {
	Version int    `json:"postrider_pull"`
	URL     string `json:"url"`
	User    string `json:"user"`
	List    int64  `json:"list"`
	Began   int64  `json:"began"` // unix seconds
}

// openSpool opens the spool of a list, with what an earlier pull has left in it.
func (r *Remote) openSpool(account ledger.Provider, list int64) (*spool, error) {
	if err := os.MkdirAll(r.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder cannot be made: %w", err)
	}
	if _, err := DiscardOldPulls(r.DataDir, r.now()); err != nil {
		r.Log.Warn("what an old pull has read stays in the data folder", "error", err)
	}
	sum := sha256.Sum256([]byte(account.URL + " " + account.User))
	s := &spool{path: filepath.Join(r.DataDir, fmt.Sprintf("pull-%d-%s.jsonl", list, hex.EncodeToString(sum[:4])))}
	s.lock = flock.New(s.path+".lock", flock.SetPermissions(0o600))
	got, err := s.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("taking the lock of a pull in the data folder: %w", err)
	}
	if !got {
		return nil, campaign.Errorf(campaign.CodeConflict, "another process is copying the provider's list %d just now: wait until it is done", list)
	}
	head := spoolHead{Version: 1, URL: account.URL, User: account.User, List: list, Began: r.now().Unix()}
	if err = s.open(head, r.now()); err != nil {
		return nil, errors.Join(err, s.close(false))
	}
	return s, nil
}

// DiscardOldPulls removes the pages of pulls that were interrupted and never run
// again: those that no pull would use any more, since they are personal data. It
// returns how many files these were. Those of a pull under way stay.
func DiscardOldPulls(dataDir string, now time.Time) (removed int, err error) {
	files, err := filepath.Glob(filepath.Join(dataDir, "pull-*.jsonl"))
	for _, path := range files {
		gone, rerr := discardOldPull(path, now)
		if rerr != nil {
			err = errors.Join(err, fmt.Errorf("removing the pages of an old pull from the data folder: %w", rerr))
		}
		if gone {
			removed++
		}
	}
	return removed, err
}

func discardOldPull(path string, now time.Time) (gone bool, err error) {
	s := &spool{path: path, lock: flock.New(path+".lock", flock.SetPermissions(0o600))}
	if got, err := s.lock.TryLock(); err != nil || !got {
		return false, err
	}
	defer func() { err = errors.Join(err, s.close(gone)) }()
	if s.file, err = os.Open(path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	old := true // also where it does not say how old it is: no pull can use it
	_, err = s.each(func(_ int, line []byte) bool {
		var head spoolHead
		if json.Unmarshal(line, &head) == nil && head.Version == 1 {
			old = !head.recent(now)
		}
		return false
	})
	return err == nil && old, err
}

// recent reports whether the pages may still be used.
func (h *spoolHead) recent(now time.Time) bool {
	age := now.Sub(time.Unix(h.Began, 0))
	return age < spoolLife && age > -spoolLife
}

// open reads what is in the file, and makes it new where that is of no use.
func (s *spool) open(head spoolHead, now time.Time) (err error) {
	if s.file, err = os.OpenFile(s.path, os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return fmt.Errorf("the pages of the pull cannot be kept in the data folder: %w", err)
	}
	s.reading = newContactReading()
	good, err := s.each(func(n int, line []byte) bool {
		if n == 0 {
			was := spoolHead{}
			if json.Unmarshal(line, &was) != nil {
				return false
			}
			recent := was.recent(now)
			was.Began = head.Began
			return was == head && recent
		}
		var p contactPage
		if json.Unmarshal(line, &p) != nil {
			return false
		}
		switch pass, page := s.reading.next(); {
		case p.Pass == s.reading.pass+1 && p.Page == 1:
			s.reading.resume() // an earlier pull did
		case p.Pass != pass || p.Page != page:
			return false
		}
		s.reading.take(&p)
		s.note(&p)
		s.pages++
		return true
	})
	if err != nil {
		return fmt.Errorf("reading the pages of the pull that was interrupted: %w", err)
	}
	if s.pages > 0 {
		s.reading.resume()
	}
	// The rest was not written to its end, or is of no use.
	if err := s.file.Truncate(good); err != nil {
		return err
	}
	if _, err := s.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if good > 0 {
		return nil
	}
	return s.line(head)
}

// each hands the file's whole lines to take until it declines one, and returns
// where that begins.
func (s *spool) each(take func(n int, line []byte) bool) (good int64, err error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	in := bufio.NewReaderSize(s.file, 1<<16)
	for n := 0; ; n++ {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return good, nil
		}
		if err != nil {
			return good, err
		}
		if !take(n, line) {
			return good, nil
		}
		good += int64(len(line))
	}
}

func (s *spool) line(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = s.file.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keeping a page of the pull in the data folder: %w", err)
	}
	return nil
}

// write keeps a page.
func (s *spool) write(p *contactPage) error {
	s.note(p)
	return s.line(p)
}

// close removes the file when it is done with; else it stays for the next pull.
func (s *spool) close(done bool) error {
	var err error
	if s.file != nil {
		err = s.file.Close()
		if done {
			err = errors.Join(err, os.Remove(s.path))
		}
	}
	// The lock's own file goes while it is held. Who opened it before that locks
	// a file without a name, and is kept out by nobody: it finds no pages, and
	// the name of its list taken.
	if done {
		err = errors.Join(err, os.Remove(s.path+".lock"))
	}
	return errors.Join(err, s.lock.Unlock())
}

// pulledFields are the columns of a pulled list, under names that the importer
// reads, and where they come from.
var pulledFields = [...]struct {
	column string
	value  func(*clicksend.Contact) string
}{
	{"phone", func(k *clicksend.Contact) string { return k.PhoneNumber }},
	{"first_name", func(k *clicksend.Contact) string { return k.FirstName }},
	{"last_name", func(k *clicksend.Contact) string { return k.LastName }},
	{"email", func(k *clicksend.Contact) string { return k.Email }},
	{"address_line_1", func(k *clicksend.Contact) string { return k.AddressLine1 }},
	{"address_line_2", func(k *clicksend.Contact) string { return k.AddressLine2 }},
	{"address_city", func(k *clicksend.Contact) string { return k.City }},
	{"address_state", func(k *clicksend.Contact) string { return k.State }},
	{"address_postal_code", func(k *clicksend.Contact) string { return k.PostalCode }},
	{"country", func(k *clicksend.Contact) string { return k.Country }},
	{"custom_1", func(k *clicksend.Contact) string { return k.Custom1 }},
	{"custom_2", func(k *clicksend.Contact) string { return k.Custom2 }},
	{"custom_3", func(k *clicksend.Contact) string { return k.Custom3 }},
	{"custom_4", func(k *clicksend.Contact) string { return k.Custom4 }},
	{"organization_name", func(k *clicksend.Contact) string { return k.Organization }},
	{"fax_number", func(k *clicksend.Contact) string { return k.FaxNumber }},
	{remoteIDColumn, func(k *clicksend.Contact) string { return strconv.FormatInt(k.ID, 10) }},
}

const pulledMax = len(pulledFields)

// note remembers which fields any contact has: the others become no column.
func (s *spool) note(p *contactPage) {
	for f := range pulledFields {
		for i := 0; i < len(p.Rows) && !s.has[f]; i++ {
			s.has[f] = strings.TrimSpace(pulledFields[f].value(&p.Rows[i])) != ""
		}
	}
}

// place remembers which contact begins on a line.
func (s *spool) place(line int, id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines, s.ids = append(s.lines, line), append(s.ids, id)
}

// named says of a dropped row which contact of the provider's it is.
func (s *spool) named(j importer.Reject) importer.Reject {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i, ok := slices.BinarySearch(s.lines, j.Line); ok {
		j.Reason = fmt.Sprintf("contact %d at the provider: %s", s.ids[i], j.Reason)
	}
	return j
}

// csv writes the contacts that are on the list as a CSV file, each as it was
// seen last. It can be written once.
func (s *spool) csv(to io.Writer, wanted func(column string) bool) error {
	w := csv.NewWriter(to)
	var columns []int
	var row []string
	for f := range pulledFields {
		// A header must name a phone, or be taken for none.
		if name := pulledFields[f].column; f == 0 || s.has[f] && wanted(name) {
			columns, row = append(columns, f), append(row, name)
		}
	}
	if err := w.Write(row); err != nil {
		return err
	}
	last := s.reading.last
	at := 2 // the next line, below the header
	var fail error
	_, err := s.each(func(n int, line []byte) bool {
		if n == 0 {
			return true
		}
		var p contactPage
		if fail = json.NewDecoder(bytes.NewReader(line)).Decode(&p); fail != nil {
			return false
		}
		for i := range p.Rows {
			k := &p.Rows[i]
			if last[k.ID] != int32(p.Pass) || !s.all && !s.reading.counts(int32(p.Pass)) {
				continue
			}
			last[k.ID] = -1 // it may stand on two pages
			row = row[:0]
			for _, f := range columns {
				row = append(row, pulledFields[f].value(k))
			}
			s.place(at, k.ID)
			at++
			for _, v := range row {
				at += strings.Count(v, "\n")
			}
			if fail = w.Write(row); fail != nil {
				return false
			}
		}
		return true
	})
	w.Flush()
	return errors.Join(err, fail, w.Error())
}
