"""What tests share: small models, data, results, boards and servers."""
