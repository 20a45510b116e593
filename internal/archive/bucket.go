package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

// bucket is a place in a store that speaks S3's protocol.
type bucket struct {
	client       *s3.Client
	name, prefix string
}

// openBucket makes a client, with the credentials that AWS' own programs find. It connects to nothing.
func openBucket(ctx context.Context, location string, o Options) (*bucket, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read AWS' configuration: %w", err)
	}
	b := &bucket{}
	b.name, b.prefix, _ = strings.Cut(location, "/")
	b.client = s3.NewFromConfig(cfg, func(s *s3.Options) {
		if o.Region != "" {
			s.Region = o.Region
		}
		if o.Endpoint != "" {
			s.BaseEndpoint, s.UsePathStyle = aws.String(o.Endpoint), true
			// Others do not know Amazon's newer checksums; what is sent is signed with its SHA-256 nevertheless.
			s.RequestChecksumCalculation, s.ResponseChecksumValidation = aws.RequestChecksumCalculationWhenRequired, aws.ResponseChecksumValidationWhenRequired
			if s.Region == "" {
				s.Region = "us-east-1"
			}
		}
	})
	if b.client.Options().Region == "" {
		return nil, errors.New("the region of the bucket is not known: set archive.region in the configuration, or AWS_REGION")
	}
	return b, nil
}

func (b *bucket) key(name string) string { return path.Join(b.prefix, name) }

func (b *bucket) path(name string) string { return "s3://" + path.Join(b.name, b.prefix, name) }

func (b *bucket) list(ctx context.Context, folder string) ([]object, error) {
	below := b.key(folder) + "/"
	if below == "/" {
		below = ""
	}
	var out []object
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &below})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, b.explain(err)
		}
		for _, o := range page.Contents {
			name := strings.TrimPrefix(strings.TrimPrefix(aws.ToString(o.Key), b.prefix), "/")
			out = append(out, object{name, aws.ToInt64(o.Size)})
		}
	}
	return out, nil
}

func (b *bucket) open(ctx context.Context, name string, from int64) (io.ReadCloser, error) {
	d := &download{ctx: ctx, b: b, key: b.key(name), at: from}
	if err := d.begin(); err != nil {
		return nil, err
	}
	return d, nil
}

func (b *bucket) tail(ctx context.Context, name string, n int64) ([]byte, error) {
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: aws.String(b.key(name)), Range: aws.String(fmt.Sprintf("bytes=-%d", n))})
	if err != nil {
		return nil, b.explain(err)
	}
	defer out.Body.Close()
	return tail(out.Body, n)
}

// stalls is how often a download goes on after its connection broke without a byte.
const stalls = 3

// download reads an object, and goes on where a connection broke.
type download struct {
	ctx    context.Context
	b      *bucket
	key    string
	body   io.ReadCloser
	tag    *string // of the object as it was at first
	at     int64
	broken int // since the last byte
}

func (d *download) begin() error {
	in := &s3.GetObjectInput{Bucket: &d.b.name, Key: &d.key, IfMatch: d.tag}
	if d.at > 0 {
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", d.at))
	}
	out, err := d.b.client.GetObject(d.ctx, in)
	if err != nil {
		return d.b.explain(err)
	}
	d.body, d.tag = out.Body, out.ETag
	return nil
}

func (d *download) Read(p []byte) (int, error) {
	for {
		n, err := d.body.Read(p)
		d.at += int64(n)
		if n > 0 {
			d.broken = 0
		}
		if n > 0 || err == nil || err == io.EOF {
			if err != io.EOF {
				err = nil // it comes again
			}
			return n, err
		}
		if d.broken++; d.broken > stalls || d.ctx.Err() != nil {
			return 0, unread{fmt.Errorf("at byte %d: %w", d.at, err)}
		}
		_ = d.body.Close()
		if err := d.begin(); err != nil {
			d.body = io.NopCloser(strings.NewReader(""))
			return 0, unread{err}
		}
	}
}

func (d *download) Close() error { return d.body.Close() }

func (b *bucket) begin(context.Context) (draft, error) {
	f, err := os.CreateTemp("", "oncesink-archive-")
	if err != nil {
		return nil, err
	}
	return &remoteDraft{f, b}, nil
}

// remoteDraft is a file of this machine, until it is put into the bucket.
type remoteDraft struct {
	*os.File
	b *bucket
}

func (d *remoteDraft) publish(ctx context.Context, name string) error {
	defer d.discard()
	info, err := d.Stat()
	if err != nil {
		return err
	}
	in := &s3.PutObjectInput{Bucket: &d.b.name, Key: aws.String(d.b.key(name)), ContentLength: aws.Int64(info.Size()),
		ContentType: aws.String("application/zstd"), IfNoneMatch: aws.String("*")}
	for {
		in.Body = io.NewSectionReader(d.File, 0, info.Size())
		_, err := d.b.client.PutObject(ctx, in)
		switch code := errorCode(err); {
		case code == "NotImplemented" && in.IfNoneMatch != nil: // the store knows no condition
			in.IfNoneMatch = nil
			continue
		case code == "PreconditionFailed" || code == "ConditionalRequestConflict":
			return errExists
		case err != nil:
			return d.b.explain(err)
		}
		return nil
	}
}

func (d *remoteDraft) discard() {
	_ = d.Close()
	_ = os.Remove(d.Name())
}

// errorCode is what the store calls an error.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// explain says what to do about an error of the store.
func (b *bucket) explain(err error) error {
	fix := ""
	switch code := errorCode(err); code {
	case "NoSuchBucket":
		fix = "create the bucket " + b.name + ", or correct the archive's location"
	case "AccessDenied", "Forbidden":
		fix = "let its user list the bucket " + b.name + " (s3:ListBucket), and read and put objects in it (s3:GetObject, s3:PutObject)"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken":
		fix = "correct the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile"
	case "PermanentRedirect", "AuthorizationHeaderMalformed":
		fix = "correct archive.region, or AWS_REGION"
	case "":
		if strings.Contains(err.Error(), "failed to refresh cached credentials") || strings.Contains(err.Error(), "no EC2 IMDS role found") {
			return errors.New("there are no credentials for the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile")
		}
		return err
	default:
		return fmt.Errorf("the store says %s: %w", code, err)
	}
	return fmt.Errorf("the store says %s: %s", errorCode(err), fix)
}
