"""Training of AVSR models: corpora, audio clusters as targets, self-supervised pretraining, CTC fine-tuning, fairseq conversion, export."""
