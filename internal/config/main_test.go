package config

import (
	"os"
	"testing"

	"github.com/oncesink/oncesink/internal/testkafka"
)

func TestMain(m *testing.M) { os.Exit(testkafka.Main(m)) }
