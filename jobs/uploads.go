package jobs

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/campaign"
	"github.com/postrider/postrider/clicksend"
	"github.com/postrider/postrider/internal/crashpoint"
)

// uploadLife is how long an upload is used. The provider deletes files 10
// minutes after the upload (shared/api/semantics.md, section 18); a request
// that begins now must still find its file when the provider looks.
const uploadLife = 7 * time.Minute

// maxUploads bounds how many uploads a worker remembers.
const maxUploads = 4096

// upload is one file at the provider.
type upload struct {
	ready  chan struct{} // closed when all the rest stands
	url    string
	until  time.Time
	err    error
	gaveUp bool // the caller who uploaded it had to end before it was done
}

// FileURLs returns the addresses at the provider of the files that a batch
// carries, uploading those that are not there any more. The key is the batch's:
// the files' own keys, separated by spaces.
func (p *Provider) FileURLs(ctx context.Context, c *campaign.Content, key string) ([]string, error) {
	if key == "" {
		return nil, nil
	}
	var urls []string
	for _, k := range strings.Split(key, " ") {
		if strings.Contains(k, "://") { // a foreign file, which the provider fetches itself
			urls = append(urls, k)
			continue
		}
		u, err := p.fileURL(ctx, c.Channel, k)
		if err != nil {
			return nil, err
		}
		urls = append(urls, u)
	}
	return urls, nil
}

// fileURL uploads a file unless that was done lately; callers that want the
// same file wait for one upload.
func (p *Provider) fileURL(ctx context.Context, c campaign.Channel, sha string) (string, error) {
	for {
		u, mine := p.uploadOf(string(c) + " " + sha)
		if mine {
			u.url, u.err = p.uploadFile(ctx, c, sha)
			u.gaveUp = ctx.Err() != nil
			// Round drops the monotonic reading, which stands still while a
			// machine sleeps; the provider's clock does not.
			u.until = p.now().Add(uploadLife).Round(0)
			close(u.ready)
			return u.url, u.err
		}
		select {
		case <-u.ready:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if u.err == nil || !u.gaveUp {
			return u.url, u.err
		}
		// Whoever uploaded it lost its batch or its patience; we have not.
	}
}

// uploadOf returns the upload of a file that is under way or still good. When
// there is none it makes one, and the caller must see it through.
func (p *Provider) uploadOf(key string) (u *upload, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u, ok := p.uploaded[key]; ok {
		select {
		case <-u.ready:
			if u.err == nil && p.now().Before(u.until) {
				return u, false
			}
		default: // under way
			return u, false
		}
	}
	u = &upload{ready: make(chan struct{})}
	p.forgetOldUploads()
	p.uploaded[key] = u
	return u, true
}

// forgetOldUploads is called with the lock held.
func (p *Provider) forgetOldUploads() {
	if len(p.uploaded) < maxUploads {
		return
	}
	for k, u := range p.uploaded {
		select {
		case <-u.ready:
			if len(p.uploaded) >= maxUploads/2 || p.now().After(u.until) {
				delete(p.uploaded, k)
			}
		default:
		}
	}
}

func (p *Provider) uploadFile(ctx context.Context, c campaign.Channel, sha string) (string, error) {
	f, content, err := p.files.ReadFile(ctx, sha)
	if err != nil {
		return "", err
	}
	if err := p.Wait(ctx, "POST /uploads", 0); err != nil {
		return "", err
	}
	crashpoint.Here(crashpoint.UploadBefore)
	up, err := p.client.Uploads.Upload(ctx, content, convertFor(c))
	crashpoint.Here(crashpoint.UploadAfter)
	if err != nil {
		return "", fmt.Errorf("uploading a file of %d bytes (%s): %w", len(content), f.Type, err)
	}
	return up.URL, nil
}

// convertFor is how the provider is to prepare a channel's file.
func convertFor(c campaign.Channel) clicksend.Convert {
	switch c {
	case campaign.MMS:
		return clicksend.ConvertMMS
	case campaign.Postcard:
		return clicksend.ConvertPostcard
	}
	return clicksend.ConvertPost
}
