package auth

import (
	"context"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/twmb/franz-go/pkg/sasl"
	mskaws "github.com/twmb/franz-go/pkg/sasl/aws"
)

// mskIAM signs in to Amazon MSK with the credentials that AWS' own programs find: of the environment, a profile, a container, a web
// identity (IRSA), EKS Pod Identity or the machine. The SDK renews them.
func mskIAM() sasl.Mechanism {
	var mu sync.Mutex
	var provider aws.CredentialsProvider
	return mskaws.ManagedStreamingIAM(func(ctx context.Context) (mskaws.Auth, error) {
		mu.Lock()
		defer mu.Unlock()
		if provider == nil {
			cfg, err := awsconfig.LoadDefaultConfig(ctx)
			if err != nil {
				return mskaws.Auth{}, fmt.Errorf("kafka.sasl: read AWS' configuration: %w", err)
			}
			provider = cfg.Credentials
		}
		c, err := provider.Retrieve(ctx)
		if err != nil {
			return mskaws.Auth{}, fmt.Errorf("kafka.sasl: get AWS' credentials: %w", err)
		}
		return mskaws.Auth{AccessKey: c.AccessKeyID, SecretKey: c.SecretAccessKey, SessionToken: c.SessionToken, UserAgent: "oncesink"}, nil
	})
}
