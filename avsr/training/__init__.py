"""Training of AVSR models: corpora, audio clusters as targets, pretraining, fine-tuning, fairseq conversion, export."""
